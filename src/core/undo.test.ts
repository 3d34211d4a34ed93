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
