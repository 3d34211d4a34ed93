/**
 * Checks the C code in native/ and guest-agent/sys with gcc's static analyzer, which follows every path through a function and
 * finds uninitialized variables, use after free, double free and leaked descriptors. A file that has passed is checked again
 * only when it, a header or a flag has changed.
 *
 *   node --import tsx hack/lib/check/c-analysis.ts    prints the compiler's warnings, and fails if there are any
 */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { ADDON_FLAGS, ADDONS, PROGRAM_FLAGS } from "../build/native.ts";
import { engine, SYS_FLAGS } from "../build/qjs.ts";
import { keyOf } from "../cache.ts";
import { ROOT, run } from "../run.ts";

const OUT = join(ROOT, "dist/analysis");
const COMPILER = "gcc";

/** A file to check. */
interface Unit {
  readonly file: string;
  readonly flags: readonly string[];
  /** The path of the compiler's output. It exists if the file has passed. */
  readonly passed: string;
}

/** Returns the C files of a directory, with the flags of its build. */
function unitsOf(directory: string, version: string, flagsOf: (name: string) => readonly string[]): Unit[] {
  const read = (name: string) => readFileSync(join(ROOT, directory, name), "utf8");
  const names = readdirSync(join(ROOT, directory)).sort();
  const headers = names.filter((name) => name.endsWith(".h")).map(read);
  return names
    .filter((name) => name.endsWith(".c"))
    .map((name) => {
      const flags = [...flagsOf(basename(name, ".c")), "-fanalyzer"];
      const key = keyOf(version, ...flags, ...headers, read(name));
      return { file: join(directory, name), flags, passed: join(OUT, `${basename(name, ".c")}-${key}.o`) };
    });
}

function allUnits(): Unit[] {
  const version = run(COMPILER, ["--version"]);
  const addons: ReadonlySet<string> = new Set(ADDONS);
  // The analyzer sees memory that a timer or a JavaScript object owns as leaked. The leak sanitizer finds real leaks
  // (guest-agent/sys/sys.test.ts, test/fuzz/c).
  const sysFlags = [...SYS_FLAGS, "-Wno-analyzer-malloc-leak", "-isystem", engine().sources];
  return [
    ...unitsOf("native", version, (name) => (addons.has(name) ? ADDON_FLAGS : PROGRAM_FLAGS)),
    ...unitsOf("guest-agent/sys", version, () => sysFlags),
  ];
}

/** Returns the compiler's warnings about a file; empty if it has passed. */
async function warningsOf({ file, flags, passed }: Unit): Promise<string> {
  try {
    await promisify(execFile)(COMPILER, [...flags, "-c", file, "-o", passed], { cwd: ROOT });
    return "";
  } catch (error) {
    return (error as { stderr?: string }).stderr || String(error);
  }
}

async function main(): Promise<void> {
  mkdirSync(OUT, { recursive: true });
  const units = allUnits();
  const current = new Set(units.map(({ passed }) => basename(passed)));
  for (const name of readdirSync(OUT)) if (!current.has(name)) rmSync(join(OUT, name));
  const waiting = units.filter(({ passed }) => !existsSync(passed));
  const work = async () => {
    for (let unit = waiting.pop(); unit; unit = waiting.pop()) {
      const warnings = await warningsOf(unit);
      if (warnings === "") continue;
      console.log(warnings);
      process.exitCode = 1;
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
}

void main();
