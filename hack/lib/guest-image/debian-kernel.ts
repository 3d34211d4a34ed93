// Debian's cloud kernel with the modules that the guest needs.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { buildOnce } from "../cache.ts";
import { debianKernelPackage, debianVersion } from "../debian/packages.ts";
import { readList, run } from "../run.ts";
import type { Entry } from "./cpio.ts";
import type { Kernel } from "./kernel.ts";
import { aliasesOf, moduleOrder } from "./modules.ts";
import { MODULES, MODULES_ON_DEMAND } from "./sources.ts";
import { extractVmlinux } from "./vmlinux.ts";

/** The metapackage that depends on the release's newest kernel. */
export const META = "linux-image-cloud-amd64";

/** Returns the cloud kernel of a Debian release. */
export function debianKernel(suite: string): Kernel {
  const path = debianKernelPackage(suite, META);
  const lib =
    ["lib", "usr/lib"].map((each) => join(path, each, "modules")).find((each) => existsSync(each)) ?? "";
  const [release = ""] = readdirSync(lib);
  const modules = () => uncompressed(join(lib, release), basename(path));
  return {
    key: basename(path),
    version: debianVersion(path),
    release,
    vmlinux: () => extractVmlinux(readFileSync(join(path, "boot", `vmlinuz-${release}`))),
    entries: (work) => moduleEntries(modules(), work),
    modulesOnDemand: (work) => modulesOnDemand(modules(), release, work),
  };
}

/** Returns lib/modules/RELEASE with uncompressed modules, as Debian 12 packages them. */
function uncompressed(directory: string, key: string): string {
  const compressed = readdirSync(join(directory, "kernel"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ko.xz"))
    .map((path) => join("kernel", path));
  if (compressed.length === 0) return directory;
  const tree = buildOnce("kernel-modules", key, (_, result) => {
    run("cp", ["-a", directory, join(result, "modules")]);
    run("xz", ["-d", ...compressed], { cwd: join(result, "modules") });
  });
  return join(tree, "modules");
}

/**
 * The guest needs no debug sections, type information and signatures. Under emulation, checking a signature would take most
 * of a module's load time.
 */
function stripped(module: string, work: string): Buffer {
  const result = join(work, basename(module));
  run("objcopy", ["--strip-debug", "--remove-section=.BTF", module, result]);
  return readFileSync(result);
}

/** Returns the modules that are loaded on demand, and modules.json: in which order, and for which devices. */
function modulesOnDemand(directory: string, release: string, work: string): Map<string, string | Buffer> {
  const loaded = new Set(moduleOrder(directory, readList(MODULES)).map(({ name }) => name));
  const files = new Map<string, string | Buffer>();
  const modules = readList(MODULES_ON_DEMAND).map((wanted) => {
    const order = moduleOrder(directory, [wanted]).filter(({ name }) => !loaded.has(name));
    for (const { name, path } of order) {
      if (!files.has(`${name}.ko`)) files.set(`${name}.ko`, stripped(join(directory, path), work));
    }
    const aliases = order.flatMap(({ path }) => aliasesOf(readFileSync(join(directory, path))));
    return { files: order.map(({ name }) => `${name}.ko`), aliases };
  });
  files.set("modules.json", JSON.stringify({ release, modules }));
  return files;
}

/** Returns the modules and the list of modules that the agent loads. */
function moduleEntries(directory: string, work: string): Entry[] {
  const order = moduleOrder(directory, readList(MODULES));
  const entries = order.map(({ name, path }): Entry => {
    return { name: `lib/modules/${name}.ko`, kind: "file", data: stripped(join(directory, path), work) };
  });
  const list = entries.map(({ name }) => `/${name}\n`).join("");
  return [...entries, { name: "lib/modules/hull.order", kind: "file", data: list }];
}
