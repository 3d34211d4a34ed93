// A kernel from Debian's kernel source with hull's configuration, without modules.
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { buildOnce, keyOf } from "../cache.ts";
import { debianVersion } from "../debian/packages.ts";
import { compilerVersion, ROOT, readList, run } from "../run.ts";
import type { Kernel } from "./kernel.ts";
import { canonical } from "./modules.ts";
import { guestPackages, MODULES } from "./sources.ts";
import { hasPvhEntry } from "./vmlinux.ts";

/** The package with the kernel's source. */
export const SOURCE = "linux-source-6.1";
const CONFIG = join(ROOT, "guest-agent/kernel/kernel.config");

/** For reproducible builds (the kernel's Documentation/kbuild/reproducible-builds.rst). */
const REPRODUCIBLE = [
  "KBUILD_BUILD_TIMESTAMP=1970-01-01",
  "KBUILD_BUILD_USER=hull",
  "KBUILD_BUILD_HOST=hull",
  "KBUILD_BUILD_VERSION=1",
];

/** Returns the lean kernel, compiled on first use (seven minutes on two cores). */
export function leanKernel(): Kernel {
  const [source = ""] = guestPackages([SOURCE]);
  const key = keyOf(basename(source), readFileSync(CONFIG, "utf8"), compilerVersion());
  const tar = join(source, "usr/src", `${SOURCE}.tar.xz`);
  const cache = buildOnce("kernel", key, (work, result) => compile(tar, work, result));
  return {
    key,
    version: debianVersion(source),
    release: readFileSync(join(cache, "release"), "utf8").trim(),
    vmlinux: () => readFileSync(join(cache, "vmlinux")),
    entries: () => [],
    modulesOnDemand: () => new Map(),
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

/** Kconfig silently drops options whose dependencies are not set. */
function checkConfig(config: string): void {
  const set = new Set(config.split("\n"));
  const dropped = readList(CONFIG).filter((line) => !line.endsWith("=n") && !set.has(line));
  if (dropped.length > 0)
    throw new Error(`kernel.config: dependencies of these options are not set: ${dropped.join(", ")}`);
}

/** Checks that everything that Debian's kernel provides as modules is built in. */
function checkBuiltIn(list: string): void {
  const builtIn = new Set(list.split("\n").map((path) => canonical(basename(path, ".ko"))));
  const missing = readList(MODULES).filter((name) => !builtIn.has(canonical(name)));
  if (missing.length > 0) throw new Error(`kernel.config: not built in: ${missing.join(", ")}`);
}
