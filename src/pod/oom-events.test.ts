import assert from "node:assert/strict";
import { test } from "node:test";
import { OomEvents } from "./oom-events.ts";

test("ten OOM kills are told of at once, then one a second", () => {
  let now = 5_000;
  const events = new OomEvents(() => now);
  const told = (kills: number) => Array.from({ length: kills }, () => events.next()).filter(Boolean).length;
  assert.equal(told(1_000), 10);
  now += 999;
  assert.equal(told(1_000), 0);
  now += 1;
  assert.equal(told(1_000), 1);
  now += 3_500;
  assert.equal(told(2), 2);
  assert.equal(told(1_000), 1);
  now += 500;
  assert.equal(told(1_000), 1, "half a second was left over");
  now += 3_600_000;
  assert.equal(told(1_000), 10, "what was not used is not kept for ever");
});
