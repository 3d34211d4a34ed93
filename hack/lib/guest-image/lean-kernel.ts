// A kernel of our own configuration, made of Debian's kernel source; everything is built in.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { availableParallelism, homedir } from "node:os";
import { basename, join } from "node:path";
import { readList } from "./modules.mjs";
import { compilerVersion, debianVersion, fetchPackages, IMAGE, ROOT, run, sha256 } from "./sources.mjs";
import { hasPvhEntry } from "./vmlinux.mjs";

const SOURCE = "linux-source-6.1";
const CONFIG = join(ROOT, "guest-agent/kernel/kernel.config");

/** The same inputs give the same bytes (Documentation/kbuild/reproducible-builds.rst of the kernel). */
const REPRODUCIBLE = [
  "KBUILD_BUILD_TIMESTAMP=1970-01-01",
  "KBUILD_BUILD_USER=hull",
  "KBUILD_BUILD_HOST=hull",
  "KBUILD_BUILD_VERSION=1",
];

/** @returns {import("./build.mjs").Kernel} */
export function leanKernel() {
  const [source] = fetchPackages([SOURCE]);
  const key = sha256(`${basename(source)}\n${readFileSync(CONFIG, "utf8")}\n${compilerVersion()}`).slice(
    0,
    32,
  );
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "hull/kernel", key);
  if (!existsSync(cache)) compile(join(source, "usr/src", `${SOURCE}.tar.xz`), cache);
  return {
    key,
    version: debianVersion(source),
    release: readFileSync(join(cache, "release"), "utf8").trim(),
    vmlinux: () => readFileSync(join(cache, "vmlinux")),
    entries: () => [],
  };
}

function compile(tar, cache) {
  mkdirSync(join(cache, ".."), { recursive: true });
  const work = mkdtempSync(`${cache}-`);
  const make = (...args) =>
    run("make", ["-s", "-C", join(work, SOURCE), "ARCH=x86_64", ...REPRODUCIBLE, ...args]);
  try {
    console.log(`build-kernel: compiling ${SOURCE} (once)`);
    run("tar", ["-xf", tar, "-C", work]);
    make(`KCONFIG_ALLCONFIG=${CONFIG}`, "allnoconfig");
    checkConfig(readFileSync(join(work, SOURCE, ".config"), "utf8"));
    make(`-j${availableParallelism()}`, "vmlinux");
    checkBuiltIn(readFileSync(join(work, SOURCE, "modules.builtin"), "utf8"));
    const result = join(work, "result");
    mkdirSync(result);
    run("strip", ["-o", join(result, "vmlinux"), join(work, SOURCE, "vmlinux")]);
    if (!hasPvhEntry(readFileSync(join(result, "vmlinux")))) throw new Error("the kernel has no PVH entry");
    run("cp", [join(work, SOURCE, "include/config/kernel.release"), join(result, "release")]);
    renameSync(result, cache);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Kconfig drops without a word what misses a dependency. */
function checkConfig(config) {
  const made = new Set(config.split("\n"));
  const lost = readList(CONFIG).filter((line) => !line.endsWith("=n") && !made.has(line));
  if (lost.length > 0)
    throw new Error(`kernel.config: these need something that is not set: ${lost.join(", ")}`);
}

/** What Debian's kernel has as modules for us must be there. */
function checkBuiltIn(list) {
  const canonical = (name) => name.replaceAll("-", "_");
  const builtIn = new Set(list.split("\n").map((path) => canonical(basename(path, ".ko"))));
  const missing = readList(join(IMAGE, "modules.list")).filter((name) => !builtIn.has(canonical(name)));
  if (missing.length > 0) throw new Error(`kernel.config: not built in: ${missing.join(", ")}`);
}
