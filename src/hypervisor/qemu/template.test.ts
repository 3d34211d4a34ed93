import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { memoryFileIn } from "./template.ts";

const run = promisify(execFile);

test("the memory of a VM is a file that nobody can link, in a folder that everybody may write to", async (t) => {
  const folder = await mkdtemp("/dev/shm/hull-memory-");
  t.after(() => rm(folder, { recursive: true }));
  await chmod(folder, 0o1777);
  const file = await memoryFileIn(folder, undefined);
  t.after(() => file.close());
  // linkat(2) with AT_SYMLINK_FOLLOW: what is left to those without CAP_DAC_READ_SEARCH.
  const named = run("ln", ["-L", `/proc/${process.pid}/fd/${file.fd}`, join(folder, "kept")]);
  await assert.rejects(named, /No such file or directory/);
  assert.deepEqual(await readdir(folder), []);
});
