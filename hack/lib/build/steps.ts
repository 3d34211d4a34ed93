import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { ROOT } from "../run.ts";

const STAMPS = join(ROOT, "dist/.stamps");

/** Returns all files at or below the paths except tests, sorted. Missing paths are ignored. */
export function inputs(...paths: readonly string[]): string[] {
  return paths
    .flatMap((path) => {
      const full = join(ROOT, path);
      if (!existsSync(full)) return [];
      if (statSync(full).isFile()) return [full];
      return readdirSync(full, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.name.endsWith(".test.ts"))
        .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
    })
    .sort();
}

/** Runs a step unless its output exists and its inputs, including the build's sources, have not changed since. */
export async function step(
  name: string,
  files: readonly string[],
  output: string,
  make: (output: string) => void | Promise<void>,
): Promise<void> {
  const hash = createHash("sha256").update(`${ROOT} ${process.version} ${process.execPath}`);
  for (const file of [...files, ...inputs("hack/lib/build")]) {
    hash.update(`\0${relative(ROOT, file)}\0`).update(readFileSync(file));
  }
  const key = hash.digest("hex");
  const stamp = join(STAMPS, name);
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, "utf8") === key) return;
  console.log(`build: ${relative(ROOT, output)}`);
  mkdirSync(dirname(output), { recursive: true });
  await make(output);
  mkdirSync(STAMPS, { recursive: true });
  writeFileSync(stamp, key);
}
