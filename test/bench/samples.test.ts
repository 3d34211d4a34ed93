import assert from "node:assert/strict";
import { test } from "node:test";
import { median, percentile, ratio, summarize } from "./samples.ts";

test("median, percentile and summary are computed from the measured values", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(percentile([5, 1, 4, 2, 3], 0.5), 3);
  assert.equal(percentile([5, 1, 4, 2, 3], 0.99), 5);
  assert.equal(percentile([7], 0), 7);
  assert.deepEqual(summarize([2, 9, 4]), { count: 3, min: 2, median: 4, max: 9 });
  assert.throws(() => median([]), /no measurement/);
});

test("ratios are taken within a round, so that a slow round does not matter", () => {
  assert.equal(ratio([20, 200, 20], [10, 100, 10]), 2);
  assert.equal(ratio([20, 30], [10]), 2.5);
});
