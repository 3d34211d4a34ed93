import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { buildOnce } from "../../hack/lib/cache.ts";
import { debianKernelPackage } from "../../hack/lib/debian/packages.ts";
import { run } from "../../hack/lib/run.ts";

/** The suite of each kernel. */
const SUITES = { "6.1": "bookworm", "6.12": "trixie", sid: "sid" } as const;

/** For kmod's programs, which are not on every user's PATH. */
export const KMOD_ENVIRONMENT = { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" };

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
  const metapackage = `linux-image-${flavour === "cloud" ? "cloud-" : ""}amd64`;
  const kernel = debianKernelPackage(SUITES[name], metapackage);
  const lib =
    ["lib", "usr/lib"].map((path) => join(kernel, path, "modules")).find((path) => existsSync(path)) ?? "";
  const [release = ""] = readdirSync(lib);
  const tree = buildOnce("lab-modules", basename(kernel), (_, result) => {
    mkdirSync(join(result, "lib/modules"), { recursive: true });
    // Hard links: the package stays as it is, without modules.dep.
    run("cp", ["-al", join(lib, release), join(result, "lib/modules", release)]);
    run("depmod", ["-b", result, release], { env: KMOD_ENVIRONMENT });
  });
  return {
    release,
    image: join(kernel, "boot", `vmlinuz-${release}`),
    modules: join(tree, "lib/modules", release),
  };
}
