import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildSync } from "esbuild";
import type { Script } from "./cloud-hypervisor-api-main.ts";

export type { Happening, Script } from "./cloud-hypervisor-api-main.ts";

let bundle: string | undefined;

/**
 * Writes an executable `cloud-hypervisor` into `directory` that serves the real one's API and event stream without
 * a guest, and behaves as `script` says. Returns its path. The name ends up in the process list, as the real one's.
 */
export function fakeCloudHypervisor(directory: string, script: Script = {}): string {
  bundle ??= build();
  mkdirSync(directory, { recursive: true });
  const program = join(directory, "cloud-hypervisor.cjs");
  writeFileSync(
    program,
    `${bundle}\nfake.main(${JSON.stringify(script)}, process.argv.slice(2)).catch((error) => {\n  console.error(error);\n  process.exit(1);\n});\n`,
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
