import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import type { Script } from "./cloud-hypervisor-api-main.ts";

export type { Script, ScriptedAction } from "./cloud-hypervisor-api-main.ts";

let bundle: string | undefined;
let tapOpener: Buffer | undefined;

/**
 * Writes an executable `cloud-hypervisor` into `directory` that serves the real API and event stream without
 * a guest and behaves as `script` says. Returns its path, whose name appears in the process list. It opens
 * what the real VMM opens, with the rights of its user. It reads its own files by path: a caller that runs it
 * as another user must make them readable for that user.
 */
export function fakeCloudHypervisor(directory: string, script: Script = {}): string {
  bundle ??= build();
  tapOpener ??= compile();
  mkdirSync(directory, { recursive: true });
  const opener = join(directory, "open-tap");
  writeFileSync(opener, tapOpener, { mode: 0o755 });
  const program = join(directory, "cloud-hypervisor.cjs");
  writeFileSync(
    program,
    `${bundle}\nfake.main(${JSON.stringify({ tapOpener: opener, ...script })}, process.argv.slice(2)).catch((error) => {\n  console.error(error);\n  process.exit(1);\n});\n`,
  );
  const path = join(directory, "cloud-hypervisor");
  writeFileSync(path, `#!/bin/sh\nexec '${process.execPath}' --no-warnings '${program}' "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

function build(): string {
  const result = buildSync({
    entryPoints: [join(import.meta.dirname, "cloud-hypervisor-api-main.ts")],
    bundle: true,
    platform: "node",
    format: "iife",
    globalName: "fake",
    target: "node20",
    write: false,
  });
  return result.outputFiles[0]?.text ?? "";
}

/** Builds the program that opens taps: Node has no ioctl(2). */
function compile(): Buffer {
  const directory = mkdtempSync(join(tmpdir(), "hull-open-tap-"));
  try {
    const program = join(directory, "open-tap");
    const source = join(import.meta.dirname, "open-tap.c");
    execFileSync("cc", ["-O1", "-Wall", "-Wextra", "-Werror", "-o", program, source]);
    return readFileSync(program);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
