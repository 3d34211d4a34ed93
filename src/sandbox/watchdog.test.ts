import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Deadline } from "../core/deadline.ts";
import { type Health, type Part, Watchdog, type WatchdogOptions } from "./watchdog.ts";

const INTERVAL = 1_000;
const TIMEOUT = 300;

/** A watchdog whose time passes by `tick`, over parts that answer unless they are in `silent`. */
function setUp(t: TestContext, options: Partial<WatchdogOptions> = {}) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  const silent = new Set<Part>();
  const told: Health[] = [];
  const looks = { count: 0, underWay: 0, most: 0, paused: false };
  const ask = async (deadline: Deadline) => {
    looks.count++;
    looks.most = Math.max(looks.most, ++looks.underWay);
    const missing = [...silent];
    if (missing.length > 0) await new Promise<void>((resolve) => deadline.onEnd(() => resolve()));
    looks.underWay--;
    if (looks.paused) return undefined;
    return missing.map((part) => ({ part, text: `${part} does not answer` }));
  };
  const watchdog = new Watchdog({
    ...{ intervalMs: INTERVAL, timeoutMs: TIMEOUT, look: ask },
    ...{ report: (health: Health) => told.push(health), now: () => now, random: () => 0.5 },
    ...options,
  });
  t.after(() => watchdog.stop());
  const tick = async (ms: number) => {
    for (const end = now + ms; now < end; ) {
      now += 10;
      t.mock.timers.tick(10);
      await new Promise(setImmediate);
    }
  };
  const words = () => told.map((health) => health.silent.map(({ part }) => part).join() || "well");
  return { watchdog, silent, told, words, looks, tick };
}

test("an unresponsive guest is reported once, and so is its recovery", async (t) => {
  const { watchdog, silent, told, words, looks, tick } = setUp(t);
  await tick(10 * INTERVAL);
  assert.deepEqual([looks.count, told.length, watchdog.health.silent], [10, 0, []]);
  silent.add("guest");
  await tick(INTERVAL + TIMEOUT);
  assert.equal(told.length, 0, "one unanswered question is not enough");
  await tick(TIMEOUT + 20);
  assert.deepEqual(words(), ["guest"]);
  assert.ok(told[0] && told[0].forMs >= 2 * TIMEOUT && told[0].forMs <= INTERVAL + 2 * TIMEOUT + 20);
  assert.deepEqual(watchdog.health.silent, [{ part: "guest", text: "guest does not answer" }]);
  await tick(10 * INTERVAL);
  assert.deepEqual(words(), ["guest"]);
  assert.ok(watchdog.health.forMs > 9 * INTERVAL);
  silent.clear();
  await tick(2 * INTERVAL);
  assert.deepEqual(words(), ["guest", "well"]);
  assert.ok(told[1] && told[1].forMs > 10 * INTERVAL);
  assert.deepEqual([watchdog.health.silent, looks.most], [[], 1]);
  silent.add("guest");
  await tick(INTERVAL + 2 * TIMEOUT + 20);
  assert.deepEqual(words(), ["guest", "well", "guest"]);
});

test("a failed probe is repeated at once, and forgotten if that succeeds", async (t) => {
  const { watchdog, silent, told, looks, tick } = setUp(t);
  for (let round = 0; round < 5; round++) {
    silent.add("guest");
    await tick(INTERVAL + 20);
    silent.clear();
    await tick(TIMEOUT);
  }
  assert.deepEqual([told, watchdog.health.silent], [[], []]);
  assert.equal(looks.count, 10);
});

test("a second unresponsive component is reported; recovery only once both answer", async (t) => {
  const { silent, words, tick } = setUp(t);
  silent.add("vmm");
  await tick(INTERVAL + 2 * TIMEOUT + 20);
  assert.deepEqual(words(), ["vmm"]);
  silent.add("guest");
  await tick(3 * (INTERVAL + TIMEOUT));
  assert.deepEqual(words(), ["vmm", "vmm,guest"]);
  silent.delete("vmm");
  await tick(2 * (INTERVAL + TIMEOUT));
  assert.equal(words().length, 2);
  silent.clear();
  await tick(INTERVAL + TIMEOUT);
  assert.deepEqual(words(), ["vmm", "vmm,guest", "well"]);
});

test("a paused VM need not answer", async (t) => {
  const { silent, told, looks, tick } = setUp(t);
  looks.paused = true;
  silent.add("guest");
  await tick(10 * INTERVAL);
  assert.equal(told.length, 0);
  looks.paused = false;
  await tick(INTERVAL + 3 * TIMEOUT);
  assert.equal(told.length, 1);
  assert.ok((told[0]?.forMs ?? 0) < INTERVAL + 4 * TIMEOUT, "the pause does not count");
});

test("after stop there are no probes and reports; an interval of 0 turns probes off", async (t) => {
  const { watchdog, silent, told, looks, tick } = setUp(t);
  silent.add("guest");
  await tick(INTERVAL + 20);
  watchdog.stop();
  await tick(10 * INTERVAL);
  assert.deepEqual([looks.count, looks.underWay, told], [1, 0, []]);
  t.mock.timers.reset();
  const never = setUp(t, { intervalMs: 0 });
  await never.tick(100_000);
  assert.equal(never.looks.count, 0);
});

test("the probes of many pods are spread over the interval", async (t) => {
  const phases = [0, 0.25, 0.5, 0.75, 0.999];
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const counts = phases.map(() => 0);
  const dogs = phases.map(
    (phase, index) =>
      new Watchdog({
        ...{ intervalMs: INTERVAL, timeoutMs: TIMEOUT, report: () => undefined, random: () => phase },
        look: async () => {
          counts[index] = (counts[index] ?? 0) + 1;
          return [];
        },
      }),
  );
  t.mock.timers.tick(0.74 * INTERVAL);
  assert.deepEqual(counts, [0, 0, 0, 0, 0]);
  t.mock.timers.tick(0.02 * INTERVAL);
  assert.deepEqual(counts, [1, 0, 0, 0, 0]);
  t.mock.timers.tick(0.25 * INTERVAL);
  assert.deepEqual(counts, [1, 1, 1, 0, 0]);
  t.mock.timers.tick(0.25 * INTERVAL);
  assert.deepEqual(counts, [1, 1, 1, 1, 1]);
  for (const dog of dogs) dog.stop();
});
