import assert from "node:assert/strict";
import { test } from "node:test";
import { Deadline } from "./deadline.ts";
import { deferred } from "./deferred.ts";
import { pollUntil } from "./poll-until.ts";
import { SerialQueue } from "./serial-queue.ts";

test("a queue reports how many tasks wait, and for how long the current one has been running", async () => {
  const queue = new SerialQueue();
  assert.equal(queue.describe(), undefined);
  const gates = [deferred<void>(), deferred<void>()] as const;
  const first = queue.run(() => gates[0].promise);
  const second = queue.run(() => gates[1].promise);
  const hasRun15Ms = () => Number(queue.describe()?.runningForMs) >= 15;
  await Deadline.within(30_000, "the first task", (limit) => pollUntil(hasRun15Ms, limit));
  assert.equal(queue.describe()?.waiting, 1);
  gates[0].reject(new Error("no"));
  await assert.rejects(first, /no/);
  await new Promise(setImmediate);
  assert.equal(queue.describe()?.waiting, 0);
  gates[1].resolve();
  await second;
  await new Promise(setImmediate);
  assert.equal(queue.describe(), undefined);
});
