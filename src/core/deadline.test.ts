import assert from "node:assert/strict";
import { test } from "node:test";
import { Deadline } from "./deadline.ts";

test("a deadline can be shortened but not extended", async () => {
  const deadline = Deadline.after(3_600_000, "long");
  deadline.shorten(20, "short");
  deadline.shorten(3_600_000, "longer again");
  assert.ok(deadline.remainingMs <= 20);
  await assert.rejects(deadline.race(new Promise(() => undefined)), {
    code: "DeadlineExceeded",
    message: "short: timed out after 20 ms",
  });
  deadline.shorten(1, "over already");
  assert.match(deadline.reason?.message ?? "", /^short/);
});

test("a shortened deadline still ends with its parent", () => {
  const parent = Deadline.none();
  const deadline = parent.shorter(Number.POSITIVE_INFINITY);
  deadline.shorten(3_600_000);
  parent.cancel("the caller has gone");
  assert.equal(deadline.reason?.code, "Canceled");
});
