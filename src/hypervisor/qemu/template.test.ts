import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { memoryFileIn } from "./template.ts";

const run = promisify(execFile);

test("the memory of a VM is a file that nobody can link, in a world-writable directory", async (t) => {
  const directory = await mkdtemp("/dev/shm/hull-memory-");
  t.after(() => rm(directory, { recursive: true }));
  await chmod(directory, 0o1777);
  const file = await memoryFileIn(directory, undefined);
  t.after(() => file.close());
  // linkat(2) with AT_SYMLINK_FOLLOW is the only way without CAP_DAC_READ_SEARCH.
  const linked = run("ln", ["-L", `/proc/${process.pid}/fd/${file.fd}`, join(directory, "kept")]);
  await assert.rejects(linked, /No such file or directory/);
  assert.deepEqual(await readdir(directory), []);
});
