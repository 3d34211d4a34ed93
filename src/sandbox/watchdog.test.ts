import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Deadline } from "../core/deadline.ts";
import { type Component, type Health, Watchdog, type WatchdogOptions } from "./watchdog.ts";

const INTERVAL = 1_000;
const TIMEOUT = 300;

/** A watchdog whose time passes by `tick`, over components that answer unless they are in `unresponsive`. */
function setUp(t: TestContext, options: Partial<WatchdogOptions> = {}) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  const unresponsive = new Set<Component>();
  const reports: Health[] = [];
  const probes = { count: 0, underWay: 0, most: 0, paused: false };
  const probe = async (deadline: Deadline) => {
    probes.count++;
    probes.most = Math.max(probes.most, ++probes.underWay);
    const missing = [...unresponsive];
    if (missing.length > 0) await new Promise<void>((resolve) => deadline.onEnd(() => resolve()));
    probes.underWay--;
    if (probes.paused) return undefined;
    return missing.map((component) => ({ component, text: `${component} does not answer` }));
  };
  const watchdog = new Watchdog({
    ...{ intervalMs: INTERVAL, timeoutMs: TIMEOUT, probe },
    ...{ report: (health: Health) => reports.push(health), now: () => now, random: () => 0.5 },
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
  const words = () =>
    reports.map((health) => health.unresponsive.map(({ component }) => component).join() || "well");
  return { watchdog, unresponsive, reports, words, probes, tick };
}

test("an unresponsive guest is reported once, and so is its recovery", async (t) => {
  const { watchdog, unresponsive, reports, words, probes, tick } = setUp(t);
  await tick(10 * INTERVAL);
  assert.deepEqual([probes.count, reports.length, watchdog.health.unresponsive], [10, 0, []]);
  unresponsive.add("guest");
  await tick(INTERVAL + TIMEOUT);
  assert.equal(reports.length, 0, "one unanswered question is not enough");
  await tick(TIMEOUT + 20);
  assert.deepEqual(words(), ["guest"]);
  assert.ok(reports[0] && reports[0].forMs >= 2 * TIMEOUT && reports[0].forMs <= INTERVAL + 2 * TIMEOUT + 20);
  assert.deepEqual(watchdog.health.unresponsive, [{ component: "guest", text: "guest does not answer" }]);
  await tick(10 * INTERVAL);
  assert.deepEqual(words(), ["guest"]);
  assert.ok(watchdog.health.forMs > 9 * INTERVAL);
  unresponsive.clear();
  await tick(2 * INTERVAL);
  assert.deepEqual(words(), ["guest", "well"]);
  assert.ok(reports[1] && reports[1].forMs > 10 * INTERVAL);
  assert.deepEqual([watchdog.health.unresponsive, probes.most], [[], 1]);
  unresponsive.add("guest");
  await tick(INTERVAL + 2 * TIMEOUT + 20);
  assert.deepEqual(words(), ["guest", "well", "guest"]);
});

test("a failed probe is repeated at once, and forgotten if that succeeds", async (t) => {
  const { watchdog, unresponsive, reports, probes, tick } = setUp(t);
  for (let round = 0; round < 5; round++) {
    unresponsive.add("guest");
    await tick(INTERVAL + 20);
    unresponsive.clear();
    await tick(TIMEOUT);
  }
  assert.deepEqual([reports, watchdog.health.unresponsive], [[], []]);
  assert.equal(probes.count, 10);
});

test("a second unresponsive component is reported; recovery only once both answer", async (t) => {
  const { unresponsive, words, tick } = setUp(t);
  unresponsive.add("vmm");
  await tick(INTERVAL + 2 * TIMEOUT + 20);
  assert.deepEqual(words(), ["vmm"]);
  unresponsive.add("guest");
  await tick(3 * (INTERVAL + TIMEOUT));
  assert.deepEqual(words(), ["vmm", "vmm,guest"]);
  unresponsive.delete("vmm");
  await tick(2 * (INTERVAL + TIMEOUT));
  assert.equal(words().length, 2);
  unresponsive.clear();
  await tick(INTERVAL + TIMEOUT);
  assert.deepEqual(words(), ["vmm", "vmm,guest", "well"]);
});

test("a paused VM need not answer", async (t) => {
  const { unresponsive, reports, probes, tick } = setUp(t);
  probes.paused = true;
  unresponsive.add("guest");
  await tick(10 * INTERVAL);
  assert.equal(reports.length, 0);
  probes.paused = false;
  await tick(INTERVAL + 3 * TIMEOUT);
  assert.equal(reports.length, 1);
  assert.ok((reports[0]?.forMs ?? 0) < INTERVAL + 4 * TIMEOUT, "the pause does not count");
});

test("after stop there are no probes and reports; an interval of 0 turns probes off", async (t) => {
  const { watchdog, unresponsive, reports, probes, tick } = setUp(t);
  unresponsive.add("guest");
  await tick(INTERVAL + 20);
  watchdog.stop();
  await tick(10 * INTERVAL);
  assert.deepEqual([probes.count, probes.underWay, reports], [1, 0, []]);
  t.mock.timers.reset();
  const never = setUp(t, { intervalMs: 0 });
  await never.tick(100_000);
  assert.equal(never.probes.count, 0);
});

test("the probes of many pods are spread over the interval", async (t) => {
  const phases = [0, 0.25, 0.5, 0.75, 0.999];
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const counts = phases.map(() => 0);
  const dogs = phases.map(
    (phase, index) =>
      new Watchdog({
        ...{ intervalMs: INTERVAL, timeoutMs: TIMEOUT, report: () => undefined, random: () => phase },
        probe: async () => {
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
