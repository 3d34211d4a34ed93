import assert from "node:assert/strict";
import { test } from "node:test";
import { Timeline } from "./timeline.ts";

test("marks are in order and relative to the given moment", () => {
  const timeline = new Timeline();
  timeline.mark("first");
  timeline.mark("second");
  const [first, second] = timeline.marks();
  assert.deepEqual([first?.name, second?.name], ["first", "second"]);
  assert.ok(first && second && first.ms > 0 && second.ms >= first.ms);
  const earlier = timeline.marks(performance.timeOrigin - 1000);
  assert.ok(Math.abs((earlier[0]?.ms ?? 0) - first.ms - 1000) < 0.2);
});

test("a timeline does not grow without bound", () => {
  const timeline = new Timeline();
  for (let i = 0; i < 1000; i++) timeline.mark(`mark ${i}`);
  assert.equal(timeline.marks().length, 64);
});
