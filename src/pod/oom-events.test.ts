import assert from "node:assert/strict";
import { test } from "node:test";
import { OomEvents } from "./oom-events.ts";

test("ten OOM events are published at once, then one per second", () => {
  let now = 5_000;
  const events = new OomEvents(() => now);
  const published = (kills: number) =>
    Array.from({ length: kills }, () => events.next()).filter(Boolean).length;
  assert.equal(published(1_000), 10);
  now += 999;
  assert.equal(published(1_000), 0);
  now += 1;
  assert.equal(published(1_000), 1);
  now += 3_500;
  assert.equal(published(2), 2);
  assert.equal(published(1_000), 1);
  now += 500;
  assert.equal(published(1_000), 1, "half a second was left over");
  now += 3_600_000;
  assert.equal(published(1_000), 10, "unused events do not accumulate");
});
