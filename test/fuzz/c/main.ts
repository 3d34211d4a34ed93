/** The command line of `hack/fuzz c`; see there. Prints a line per target. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { engine } from "../../../hack/lib/build/qjs.ts";
import { CC, ROOT, run } from "../../../hack/lib/run.ts";

const OUT = join(ROOT, "dist/fuzz");
const NATIVE = join(ROOT, "native");
const SYS = join(ROOT, "guest-agent/sys");
const FLAGS = "-std=gnu11 -O1 -g -w -D_GNU_SOURCE -fno-omit-frame-pointer -fno-sanitize-recover=all".split(
  " ",
);
/** Target -> our code that it is linked with. */
const TARGETS: Readonly<Record<string, "sys" | "confine" | "nothing">> = {
  text: "sys",
  relay: "sys",
  "receive-fd": "sys",
  localhost: "confine",
  "copy-sparse": "nothing",
};
/** How many of the last lines of a target's output are shown after a finding. */
const SHOWN = 60;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "10" },
    inputs: { type: "string" },
    seed: { type: "string" },
  },
});
const clang = process.env.CLANG ?? "clang";
const hasClang = spawnSync(clang, ["--version"]).status === 0;
const compiler = hasClang ? clang : CC;
const work = mkdtempSync(join(tmpdir(), "hull-fuzz-c-"));
const qjs = engine();

function compile(flags: readonly string[], source: string, object: string): string {
  const output = join(work, object);
  run(compiler, [...FLAGS, "-isystem", qjs.sources, "-I", NATIVE, ...flags, "-c", source, "-o", output]);
  return output;
}

/** Builds the given targets and returns their programs. */
function build(names: readonly string[]): string[] {
  const sanitize = "-fsanitize=address,undefined";
  const flags = hasClang
    ? ["-fsanitize=fuzzer-no-link,address,undefined"]
    : [sanitize, "-fsanitize-coverage=trace-pc"];
  const driver = hasClang
    ? ["-fsanitize=fuzzer,address,undefined"]
    : [sanitize, compile(["-O2"], join(import.meta.dirname, "driver.c"), "driver.o")];
  const sources = readdirSync(SYS).filter((name) => name.endsWith(".c") && name !== "main.c");
  const objects = {
    sys: [
      ...sources.map((name) => compile(flags, join(SYS, name), `sys-${basename(name, ".c")}.o`)),
      ...qjs.objects,
    ],
    confine: [compile(flags, join(NATIVE, "confine.c"), "native-confine.o")],
    nothing: [],
  };
  return names.map((name) => {
    const needs = TARGETS[name];
    if (!needs) throw new Error(`there is no target ${name} (${Object.keys(TARGETS).join(", ")})`);
    const object = compile(flags, join(import.meta.dirname, `${name}.c`), `${name}.o`);
    const libraries = ["-lm", "-lpthread", "-lutil"];
    run(compiler, [object, ...objects[needs], ...driver, ...libraries, "-o", join(work, name)]);
    return join(work, name);
  });
}

/** Returns whether a target ran without a finding; the input of a finding is in dist/fuzz. */
function holds(program: string): boolean {
  const found = join(OUT, `c-${basename(program)}.input`);
  const args = hasClang
    ? [`-max_total_time=${values.seconds}`, "-max_len=4096", "-timeout=60", `-exact_artifact_path=${found}`]
    : [`-seconds=${values.seconds}`, `-file=${found}`];
  if (values.inputs !== undefined) args.push(`-runs=${values.inputs}`);
  if (values.seed !== undefined) args.push(`-seed=${values.seed}`);
  console.log(`== ${basename(program)}`);
  const env = { ...process.env, ASAN_OPTIONS: "detect_leaks=1" };
  const { status, output } = spawnSync(program, args, { env, encoding: "utf8", maxBuffer: 2 ** 28 });
  const lines = output.join("").trimEnd().split("\n");
  console.log(lines.slice(status === 0 ? -1 : -SHOWN).join("\n"));
  return status === 0;
}

try {
  mkdirSync(OUT, { recursive: true });
  const programs = build(positionals.length > 0 ? positionals : Object.keys(TARGETS));
  if (programs.filter((program) => !holds(program)).length > 0) process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
