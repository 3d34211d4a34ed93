// A kernel of our own configuration, made of Debian's kernel source; everything is built in.
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { keyOf, madeOnce } from "../cache.ts";
import { debianVersion } from "../debian/packages.ts";
import { compilerVersion, ROOT, readList, run } from "../run.ts";
import type { Kernel } from "./kernel.ts";
import { canonical } from "./modules.ts";
import { guestPackages, MODULES } from "./sources.ts";
import { hasPvhEntry } from "./vmlinux.ts";

/** The package with the kernel's source. */
export const SOURCE = "linux-source-6.1";
const CONFIG = join(ROOT, "guest-agent/kernel/kernel.config");

/** The same inputs give the same bytes (Documentation/kbuild/reproducible-builds.rst of the kernel). */
const REPRODUCIBLE = [
  "KBUILD_BUILD_TIMESTAMP=1970-01-01",
  "KBUILD_BUILD_USER=hull",
  "KBUILD_BUILD_HOST=hull",
  "KBUILD_BUILD_VERSION=1",
];

/** The lean kernel; compiled on first use (seven minutes of two cores). */
export function leanKernel(): Kernel {
  const [source = ""] = guestPackages([SOURCE]);
  const key = keyOf(basename(source), readFileSync(CONFIG, "utf8"), compilerVersion());
  const tar = join(source, "usr/src", `${SOURCE}.tar.xz`);
  const cache = madeOnce("kernel", key, (work, result) => compile(tar, work, result));
  return {
    key,
    version: debianVersion(source),
    release: readFileSync(join(cache, "release"), "utf8").trim(),
    vmlinux: () => readFileSync(join(cache, "vmlinux")),
    entries: () => [],
  };
}

function compile(tar: string, work: string, result: string): void {
  const tree = join(work, SOURCE);
  const make = (...args: string[]) =>
    run("make", ["-s", "-C", tree, "ARCH=x86_64", ...REPRODUCIBLE, ...args]);
  console.log(`build-kernel: compiling ${SOURCE} (once)`);
  run("tar", ["-xf", tar, "-C", work]);
  make(`KCONFIG_ALLCONFIG=${CONFIG}`, "allnoconfig");
  checkConfig(readFileSync(join(tree, ".config"), "utf8"));
  make(`-j${availableParallelism()}`, "vmlinux");
  checkBuiltIn(readFileSync(join(tree, "modules.builtin"), "utf8"));
  run("strip", ["-o", join(result, "vmlinux"), join(tree, "vmlinux")]);
  if (!hasPvhEntry(readFileSync(join(result, "vmlinux")))) throw new Error("the kernel has no PVH entry");
  run("cp", [join(tree, "include/config/kernel.release"), join(result, "release")]);
}

/** Kconfig drops without a word what misses a dependency. */
function checkConfig(config: string): void {
  const made = new Set(config.split("\n"));
  const lost = readList(CONFIG).filter((line) => !line.endsWith("=n") && !made.has(line));
  if (lost.length > 0)
    throw new Error(`kernel.config: these need something that is not set: ${lost.join(", ")}`);
}

/** What Debian's kernel has as modules for us must be there. */
function checkBuiltIn(list: string): void {
  const builtIn = new Set(list.split("\n").map((path) => canonical(basename(path, ".ko"))));
  const missing = readList(MODULES).filter((name) => !builtIn.has(canonical(name)));
  if (missing.length > 0) throw new Error(`kernel.config: not built in: ${missing.join(", ")}`);
}
