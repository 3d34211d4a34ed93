import assert from "node:assert/strict";
import { test } from "node:test";
import { Deadline } from "./deadline.ts";
import { Semaphore } from "./semaphore.ts";

test("permits go round in the order they were asked for", async () => {
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
  release(); // once is enough: no permit is made of it
  await Promise.all(others);
  assert.deepEqual(order, [1, 2]);
});

test("who gives up takes no permit along, not even in the tick in which it came", async () => {
  const semaphore = new Semaphore(1);
  const release = await semaphore.acquire(Deadline.none());
  const [early, late] = [Deadline.none(), Deadline.none()];
  const asked = [semaphore.acquire(early), semaphore.acquire(late)];
  early.cancel();
  release();
  late.cancel();
  const results = await Promise.allSettled(asked);
  assert.equal(results[0]?.status, "rejected");
  for (const result of results) if (result.status === "fulfilled") result.value();
  const soon = Deadline.after(30_000, "the permit");
  (await semaphore.acquire(soon))();
  soon.dispose();
});
