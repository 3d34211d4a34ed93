import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { writeFileAtomically } from "./write-file-atomically.ts";

test("a file is replaced as a whole, and a failure leaves no other file", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "hull-write-"));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, "file");
  await writeFileAtomically(path, "first");
  const { ino } = await stat(path);
  await writeFileAtomically(path, "second");
  const now = await stat(path);
  assert.notEqual(now.ino, ino);
  assert.equal(now.mode & 0o777, 0o600);
  assert.equal(await readFile(path, "utf8"), "second");
  await mkdir(join(directory, "taken/inside"), { recursive: true });
  await assert.rejects(writeFileAtomically(join(directory, "taken"), "third"), {
    code: /EISDIR|ENOTEMPTY|EEXIST/,
  });
  assert.deepEqual((await readdir(directory)).sort(), ["file", "taken"]);
});
