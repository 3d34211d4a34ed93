// Debian's cloud kernel with the modules that the guest needs.
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { debianVersion } from "../debian/packages.ts";
import { readList, run } from "../run.ts";
import type { Entry } from "./cpio.ts";
import type { Kernel } from "./kernel.ts";
import { moduleOrder } from "./modules.ts";
import { guestPackages, MODULES } from "./sources.ts";
import { extractVmlinux } from "./vmlinux.ts";

/** The package that depends on the newest kernel of the release. */
export const META = "linux-image-cloud-amd64";

/** The package that the meta package stands for, e.g. linux-image-6.1.0-50-cloud-amd64. */
function kernelPackage(): string {
  const [meta = ""] = guestPackages([META]);
  const name = /^Depends: (linux-image-\S+)/m.exec(readFileSync(join(meta, "DEBIAN/control"), "utf8"))?.[1];
  if (!name) throw new Error(`${META} names no kernel package`);
  const [path = ""] = guestPackages([name]);
  return path;
}

/** Debian's cloud kernel. */
export function debianKernel(): Kernel {
  const path = kernelPackage();
  const [release = ""] = readdirSync(join(path, "lib/modules"));
  return {
    key: basename(path),
    version: debianVersion(path),
    release,
    vmlinux: () => extractVmlinux(readFileSync(join(path, "boot", `vmlinuz-${release}`))),
    entries: (work) => moduleEntries(join(path, "lib/modules", release), work),
  };
}

/** The modules, and the list by which the agent loads them. */
function moduleEntries(folder: string, work: string): Entry[] {
  const order = moduleOrder(folder, readList(MODULES));
  const entries = order.map(({ name, path }): Entry => {
    const stripped = join(work, basename(path));
    // Without debug sections, type information and signature: nothing of it is used in the guest, and the signature's
    // check is most of a module's loading time under emulation.
    run("objcopy", ["--strip-debug", "--remove-section=.BTF", join(folder, path), stripped]);
    return { name: `lib/modules/${name}.ko`, kind: "file", data: readFileSync(stripped) };
  });
  const list = entries.map(({ name }) => `/${name}\n`).join("");
  return [...entries, { name: "lib/modules/hull.order", kind: "file", data: list }];
}
