import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { allSettled } from "./all-settled.ts";

test("values come in order and with their types", async () => {
  const [text, number] = await allSettled([sleep(5, "late"), Promise.resolve(1)]);
  assert.equal(text.length + number, 5);
});

test("a failure waits for the others", async () => {
  let done = false;
  const slow = sleep(20).then(() => {
    done = true;
  });
  await assert.rejects(allSettled([slow, Promise.reject(new Error("early"))]), /early/);
  assert.equal(done, true);
});
