import assert from "node:assert/strict";
import { test } from "node:test";
import type { Deadline } from "./deadline.ts";
import { HullError, unavailable } from "./errors.ts";
import { undo } from "./undo.ts";

test("undo returns the cause and has a timeout of its own", async () => {
  const cause = unavailable("no");
  const times: Deadline[] = [];
  assert.equal(await undo(cause, async (by) => void times.push(by)), cause);
  assert.equal(times.length, 1);
  assert.ok((times[0]?.remainingMs ?? 0) > 1_000);
});

test("a failure to undo is appended to the cause, whose class stays", async () => {
  const error = await undo(unavailable("no"), () => Promise.reject(new Error("busy")));
  assert.ok(error instanceof HullError);
  assert.deepEqual([error.code, error.message], ["Unavailable", "no; undoing it failed: busy"]);
});

test("an undo that exceeds its timeout is abandoned", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const hangs = () => new Promise<void>(() => undefined);
  let reported: unknown;
  const undoing = undo(unavailable("no source"), hangs).then((error) => {
    reported = error;
  });
  t.mock.timers.tick(15_000);
  await Promise.resolve();
  assert.equal(reported, undefined);
  t.mock.timers.tick(1_000);
  await undoing;
  assert.match(String(reported), /no source; undoing it failed: undo it: timed out after 16000 ms/);
});
