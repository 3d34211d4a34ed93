import assert from "node:assert/strict";
import { test } from "node:test";
import { Deadline } from "./deadline.ts";
import { Semaphore } from "./semaphore.ts";

test("permits are granted in the order of the requests", async () => {
  const semaphore = new Semaphore(1);
  const order: number[] = [];
  const release = await semaphore.acquire(Deadline.none());
  const others = [1, 2].map(async (name) => {
    const done = await semaphore.acquire(Deadline.none());
    order.push(name);
    done();
  });
  assert.deepEqual(order, []);
  release();
  release(); // the second call must not create a permit
  await Promise.all(others);
  assert.deepEqual(order, [1, 2]);
});

test("a cancelled request loses no permit, not even in the tick that grants it", async () => {
  const semaphore = new Semaphore(1);
  const release = await semaphore.acquire(Deadline.none());
  const [early, late] = [Deadline.none(), Deadline.none()];
  const requests = [semaphore.acquire(early), semaphore.acquire(late)];
  early.cancel();
  release();
  late.cancel();
  const results = await Promise.allSettled(requests);
  assert.equal(results[0]?.status, "rejected");
  for (const result of results) if (result.status === "fulfilled") result.value();
  const soon = Deadline.after(30_000, "the permit");
  (await semaphore.acquire(soon))();
  soon.dispose();
});
