import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { findByMark, isAlive, startTimeOf } from "./proc.ts";

test("a process is named by pid and start time", () => {
  const startTime = startTimeOf(process.pid);
  assert.match(startTime ?? "", /^\d+$/);
  assert.ok(isAlive(process.pid, startTime as string));
  assert.ok(!isAlive(process.pid, "1"));
  assert.equal(startTimeOf(2 ** 22 + 1), undefined);
});

test("processes are found by their mark, and only those", async () => {
  const pod = `test/${process.pid}-mark`;
  const child = spawn("sleep", ["60"], { env: { HULL_POD: pod } });
  await once(child, "spawn");
  const other = spawn("sleep", ["60"], { env: { HULL_POD: `${pod}-2` } });
  await once(other, "spawn");
  try {
    assert.deepEqual(await findByMark(pod), [
      { pid: child.pid, startTime: startTimeOf(child.pid as number) },
    ]);
  } finally {
    child.kill("SIGKILL");
    other.kill("SIGKILL");
    await Promise.all([once(child, "exit"), once(other, "exit")]);
  }
  assert.deepEqual(await findByMark(pod), []);
});
