import { existsSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Puts a system tool first on the PATH that, once it is called, does nothing for some seconds: for a step that its deadline
 * cuts off in the middle. `called` resolves when the tool has been called. It ends with the test.
 */
export async function stallingTool(t: TestContext, name: string): Promise<{ called(): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), "hull-stalling-"));
  const [path, mark, tool] = [process.env.PATH, join(directory, "called"), join(directory, name)];
  t.after(async () => {
    process.env.PATH = path;
    await rm(directory, { recursive: true });
  });
  await writeFile(tool, `#!/bin/sh\n: > '${mark}'\nexec sleep 5\n`);
  await chmod(tool, 0o755);
  process.env.PATH = `${directory}:${path}`;
  return {
    called: async () => {
      while (!existsSync(mark)) await sleep(10);
      process.env.PATH = path; // undoing has the real one
    },
  };
}
