import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { artifacts } from "../../../src/config/emit/artifacts.ts";

async function main(): Promise<void> {
  const check = process.argv.includes("--check");
  const stale: string[] = [];
  for (const [file, text] of artifacts()) {
    const present = await readFile(file, "utf8").catch(() => undefined);
    if (present === text) continue;
    stale.push(file);
    if (check) continue;
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  if (check && stale.length > 0) {
    console.error(`stale, run hack/generate-config: ${stale.join(", ")}`);
    process.exitCode = 1;
  }
}

void main();
