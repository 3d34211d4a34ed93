import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HullError } from "../core/errors.ts";
import { grownSize, growthPieces, neededSize, requireReachable } from "./grown-size.ts";
import type { PodLimits } from "./pod-limits.ts";
import type { SizingRule } from "./sizing.ts";

const rule: SizingRule = {
  ...{ defaultVcpus: 1, maxVcpus: 8 },
  ...{ defaultMemory: 256, minMemory: 128, maxMemory: 4000, guestOverhead: 96, hostOverhead: 64 },
};
const MIB = 2 ** 20;
const FREE: PodLimits = {};
const limited = (mib: number, cpus: number): PodLimits => ({ memory: mib * MIB, cpus });
const refused = (text: RegExp) => (error: unknown) =>
  error instanceof HullError && error.code === "FailedPrecondition" && text.test(error.message);

describe("what containers need", () => {
  const cases: [string, PodLimits[], vcpus: number, memoryMib: number][] = [
    ["none yet: what the guest itself takes", [], 0, 96],
    ["without limits: the default size, however many there are", [FREE, FREE, FREE], 1, 256],
    ["limits add up", [limited(200, 0.5), limited(100, 1)], 2, 396],
    ["one without limits has what it had in a VM of the default size", [FREE, limited(256, 1)], 2, 512],
    ["a limit of memory alone", [{ memory: 256 * MIB }], 1, 352],
    ["a limit of CPUs alone", [{ cpus: 3 }], 3, 256],
    ["a part of a MiB counts as a whole one", [{ memory: MIB + 1, cpus: 1 }], 1, 98],
    ["fractions that binary numbers only come near to", Array(10).fill(limited(1, 0.1)), 1, 106],
    ["no more than the most, though limits may be more in all", Array(3).fill(limited(2000, 4)), 8, 4000],
  ];
  for (const [name, containers, vcpus, memoryMib] of cases) {
    test(name, () => assert.deepEqual(neededSize(containers, rule), { vcpus, memoryMib }));
  }
});

describe("growing", () => {
  const booted = { vcpus: 1, memoryMib: 256 };
  const grow = (memoryMib: number, now = booted.memoryMib, limitMib?: number) =>
    grownSize(booted, { vcpus: 2, memoryMib: now }, { vcpus: 1, memoryMib }, limitMib, rule).memoryMib;

  test("the size grows in whole steps, never below the present one", () => {
    assert.equal(grow(100), 256);
    assert.equal(grow(256), 256);
    assert.equal(grow(257), 384);
    assert.equal(grow(384), 384);
    const now = { vcpus: 2, memoryMib: 384 };
    assert.deepEqual(grownSize(booted, now, { vcpus: 1, memoryMib: 96 }, undefined, rule), now);
    assert.equal(grownSize(booted, now, { vcpus: 5, memoryMib: 96 }, undefined, rule).vcpus, 5);
  });

  test("it grows by at least as much as before, so that a few slots serve many containers", () => {
    let now = booted.memoryMib;
    let slots = 0;
    for (let containers = 1; containers <= 20; containers++) {
      const grown = grow(96 + 160 + containers * 128, now);
      if (grown > now) slots++;
      now = grown;
    }
    assert.equal(slots, 6);
    assert.equal(now, 256 + 3072);
  });

  test("no step exceeds the maximum or the cgroup, even if less than needed fits", () => {
    assert.equal(grow(4000), 3968);
    assert.equal(grow(600, 256, 664), 512); // 600 fit, of which 88 are not a whole step
    assert.equal(grow(600, 256, 704), 640);
    assert.equal(grow(600, 512, 704), 640); // not 768, which would grow as much as before
  });

  test("a size that does not fit the cgroup is refused with all figures", () => {
    assert.throws(() => grow(601, 256, 664), refused(/601 MiB .* 64 MiB .*limited to 664 MiB/));
    assert.equal(grow(256, 256, 10), 256); // no more is needed
  });

  test("the page descriptors of each piece fit half of the memory before it", () => {
    assert.deepEqual(growthPieces(0), []);
    assert.deepEqual(growthPieces(128), [128]);
    assert.deepEqual(growthPieces(1024), [1024]);
    assert.deepEqual(growthPieces(1152), [1024, 128]);
    assert.deepEqual(growthPieces(512 * 1024), [1024, 32_768, 490_496]);
  });

  test("a limit that the VM can never fit is refused; one that only others leave no room for is not", () => {
    const now = { vcpus: 1, memoryMib: 256 };
    requireReachable({ memory: 3968 * MIB }, now, rule);
    requireReachable({}, now, rule);
    assert.throws(
      () => requireReachable({ memory: 3968 * MIB + 1 }, now, rule),
      refused(/3969 MiB is more than its VM has \(256 MiB\) or can grow to \(3968 MiB\)/),
    );
    requireReachable({ memory: 5000 * MIB }, { vcpus: 1, memoryMib: 5000 }, rule);
  });
});
