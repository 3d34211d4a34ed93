/**
 * Builds static programs from TypeScript: esbuild's bundle becomes QuickJS-ng bytecode, which is linked with the engine and
 * the sys module (guest-agent/sys). Builds are reproducible. The engine (25 s to compile) and the sys module are cached.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { buildSync } from "esbuild";
import { buildOnce, keyOf } from "../cache.ts";
import { debianPackages } from "../debian/packages.ts";
import { CC, compilerVersion, ROOT, run } from "../run.ts";

const SYS = join(ROOT, "guest-agent/sys");
const COMMON = ["-std=gnu11", "-O2", "-fno-plt", "-D_GNU_SOURCE"];
const SECTIONS = ["-ffunction-sections", "-fdata-sections"];
/** The package with the engine's source. */
export const PACKAGE = "qjs-src";
const ENGINE = ["quickjs", "libregexp", "libunicode", "dtoa"];
const STATIC = ["-static", "-s", "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-z,norelro"];
/** The compiler's flags for the sys module, without the path of the engine's headers. */
export const SYS_FLAGS = [...COMMON, "-Wall", "-Wextra", "-Werror", ...SECTIONS];
const SANITIZERS = "-fsanitize=address,undefined";
const SANITIZED = [
  "-g",
  "-fno-omit-frame-pointer",
  SANITIZERS,
  "-fno-sanitize-recover=all",
  "-DHULL_FREE_ALL",
];

/** The compiled JavaScript engine. */
interface Engine {
  readonly key: string;
  /** The directory of its sources. */
  readonly sources: string;
  /** The objects that a program is linked with. */
  readonly objects: readonly string[];
  /** Compiles JavaScript to bytecode. */
  readonly compiler: string;
}

/** Returns QuickJS-ng from Debian's sources, compiled on first use. */
export function engine(): Engine {
  const [source = ""] = debianPackages("sid", [PACKAGE]);
  const sources = join(source, "usr/src/quickjs-ng");
  const flags = [...COMMON, "-w", ...SECTIONS];
  const names = readdirSync(sources).filter((name) => /\.[ch]$/.test(name));
  const texts = names.sort().map((name) => readFileSync(join(sources, name), "utf8"));
  const key = keyOf(compilerVersion(), ...flags, ...texts);
  const cached = buildOnce("qjs-engine", key, (work, result) => {
    console.error("build: compiling QuickJS-ng (once)");
    const all = [...ENGINE, "quickjs-libc", "qjsc"];
    const mapped = [...flags, `-ffile-prefix-map=${sources}=qjs`];
    const args = ["-c", `${sources}/{}.c`, "-o", `${work}/{}.o`];
    run("xargs", [`-P${availableParallelism()}`, "-I{}", CC, ...mapped, ...args], {
      input: all.join("\n"),
      stdio: "pipe",
    });
    const object = (name: string) => join(work, `${name}.o`);
    run(CC, [...all.map(object), "-lm", "-ldl", "-lpthread", "-o", join(result, "qjsc")]);
    for (const name of ENGINE) renameSync(object(name), join(result, `${name}.o`));
  });
  const objects = ENGINE.map((name) => join(cached, `${name}.o`));
  return { key, sources, objects, compiler: join(cached, "qjsc") };
}

/** The objects of the sys module. */
function sysObjects({ key, sources }: Engine, sanitize: boolean): string[] {
  const flags = [...SYS_FLAGS, ...(sanitize ? SANITIZED : [])];
  const names = readdirSync(SYS).filter((name) => /\.[chS]$/.test(name));
  const texts = names.sort().map((name) => readFileSync(join(SYS, name), "utf8"));
  const cached = buildOnce("qjs-sys", keyOf(key, compilerVersion(), ...flags, ...texts), (_, result) => {
    // The result must not depend on the paths of clone and cache.
    const mapped = [`-ffile-prefix-map=${ROOT}=.`, `-ffile-prefix-map=${sources}=qjs`, `-isystem${sources}`];
    const files = names.filter((name) => name.endsWith(".c")).map((name) => join(SYS, name));
    run(CC, [...flags, ...mapped, "-c", ...files], { cwd: result });
  });
  return readdirSync(cached)
    .sort()
    .map((name) => join(cached, name));
}

/**
 * Builds a program from a TypeScript file.
 * @param sanitize for tests: dynamic, not stripped, and the sys module with address and undefined behaviour sanitizers
 */
export function buildProgram(entry: string, output: string, { sanitize = false } = {}): void {
  const qjs = engine();
  const work = mkdtempSync(join(tmpdir(), "hull-program-"));
  const at = (name: string) => join(work, name);
  try {
    buildSync({
      absWorkingDir: ROOT,
      entryPoints: [entry],
      outfile: at("bundle.js"),
      bundle: true,
      format: "esm",
      target: "es2023",
      platform: "neutral",
      mainFields: ["module", "main"],
      external: ["sys"],
      minifySyntax: true,
      legalComments: "none",
      logLevel: "warning",
    });
    // -s: without the source text. Line numbers stay, for readable stack traces.
    const flags = ["-b", "-m", "-s", "-P", "-M", "sys,sys", "-n", `${basename(output)}.js`];
    run(qjs.compiler, [...flags, "-o", at("bytecode"), at("bundle.js")]);
    run(CC, ["-c", `-DHULL_BYTECODE="${at("bytecode")}"`, join(SYS, "bytecode.S"), "-o", at("bytecode.o")]);
    const linking = sanitize ? ["-g", SANITIZERS, "-Wl,--build-id=none"] : STATIC;
    const objects = [at("bytecode.o"), ...sysObjects(qjs, sanitize), ...qjs.objects];
    // Renamed, because the old program may be running.
    mkdirSync(dirname(output), { recursive: true });
    run(CC, [...linking, ...objects, "-lm", "-lpthread", "-o", `${output}.new.${process.pid}`]);
    renameSync(`${output}.new.${process.pid}`, output);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
