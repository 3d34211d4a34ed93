import assert from "node:assert/strict";
import { test } from "node:test";
import { deferred } from "./deferred.ts";
import { SerialQueue } from "./serial-queue.ts";

test("a queue reports how many tasks wait, and for how long the current one has been running", async () => {
  const queue = new SerialQueue();
  assert.equal(queue.describe(), undefined);
  const gates = [deferred<void>(), deferred<void>()] as const;
  const first = queue.run(() => gates[0].promise);
  const second = queue.run(() => gates[1].promise);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const { waiting, runningForMs } = queue.describe() ?? {};
  assert.equal(waiting, 1);
  assert.ok(Number(runningForMs) >= 15);
  gates[0].reject(new Error("no"));
  await assert.rejects(first, /no/);
  await new Promise(setImmediate);
  assert.equal(queue.describe()?.waiting, 0);
  gates[1].resolve();
  await second;
  await new Promise(setImmediate);
  assert.equal(queue.describe(), undefined);
});
