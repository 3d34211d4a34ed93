import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { buildOnce } from "../../hack/lib/cache.ts";
import { debianPackages } from "../../hack/lib/debian/packages.ts";
import { run } from "../../hack/lib/run.ts";

/** The suite of each kernel. */
const SUITES = { "6.1": "bookworm", "6.12": "trixie", sid: "sid" } as const;

/** A kernel that the lab's host can have. */
export type KernelName = keyof typeof SUITES;

/** The names of the kernels. */
export const KERNELS = Object.keys(SUITES) as KernelName[];

/** The kernel of the lab's host. */
export interface HostKernel {
  /** What `uname -r` prints. */
  readonly release: string;
  /** The bzImage. */
  readonly image: string;
  /** lib/modules/RELEASE, with modules.dep. */
  readonly modules: string;
}

/**
 * Returns a Debian kernel.
 *
 * @param flavour `cloud` lacks the drivers of most hardware; `generic` has them
 */
export function hostKernel(name: KernelName, flavour: "cloud" | "generic"): HostKernel {
  const suite = SUITES[name];
  const [meta = ""] = debianPackages(suite, [`linux-image-${flavour === "cloud" ? "cloud-" : ""}amd64`]);
  const depends = /^Depends:.* (linux-image-[^\s,]+)/m.exec(
    readFileSync(join(meta, "DEBIAN/control"), "utf8"),
  );
  if (!depends?.[1]) throw new Error(`${meta} names no kernel package`);
  const [kernel = ""] = debianPackages(suite, [depends[1]]);
  const lib =
    ["lib", "usr/lib"].map((path) => join(kernel, path, "modules")).find((path) => existsSync(path)) ?? "";
  const [release = ""] = readdirSync(lib);
  const tree = buildOnce("lab-modules", basename(kernel), (_, result) => {
    mkdirSync(join(result, "lib/modules"), { recursive: true });
    // Hard links: the package stays as it is, without modules.dep.
    run("cp", ["-al", join(lib, release), join(result, "lib/modules", release)]);
    run("depmod", ["-b", result, release], { env: { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" } });
  });
  return {
    release,
    image: join(kernel, "boot", `vmlinuz-${release}`),
    modules: join(tree, "lib/modules", release),
  };
}
