import { existsSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Puts a replacement for a system tool first in PATH that blocks for some seconds, for a step that is to
 * exceed its deadline. `called` resolves when it has been called. Removed after the test.
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
      process.env.PATH = path; // rollback uses the real one
    },
  };
}
