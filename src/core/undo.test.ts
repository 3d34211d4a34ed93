import assert from "node:assert/strict";
import { test } from "node:test";
import type { Deadline } from "./deadline.ts";
import { HullError, unavailable } from "./errors.ts";
import { undo } from "./undo.ts";

test("what is thrown is the cause, and undoing has time", async () => {
  const cause = unavailable("no");
  const times: Deadline[] = [];
  assert.equal(await undo(cause, async (by) => void times.push(by)), cause);
  assert.equal(times.length, 1);
  assert.ok((times[0]?.remainingMs ?? 0) > 1_000);
});

test("a failure to undo is told with the cause, whose class counts", async () => {
  const error = await undo(unavailable("no"), () => Promise.reject(new Error("busy")));
  assert.ok(error instanceof HullError);
  assert.deepEqual([error.code, error.message], ["Unavailable", "no; undoing it failed: busy"]);
});

test("what goes on beyond its limit is given up", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const hangs = () => new Promise<void>(() => undefined);
  let told: unknown;
  const undoing = undo(unavailable("no source"), hangs).then((error) => {
    told = error;
  });
  t.mock.timers.tick(15_000);
  await Promise.resolve();
  assert.equal(told, undefined);
  t.mock.timers.tick(1_000);
  await undoing;
  assert.match(String(told), /no source; undoing it failed: undo it: timed out after 16000 ms/);
});
