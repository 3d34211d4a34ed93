import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HullError } from "../core/errors.ts";
import { limitsOfAnnotations, limitsOfResources } from "./pod-limits.ts";
import { fitToCgroup, type SizingRule, vmSize } from "./sizing.ts";

const rule: SizingRule = {
  ...{ defaultVcpus: 1, maxVcpus: 8 },
  ...{ defaultMemory: 256, minMemory: 128, maxMemory: 4000, guestOverhead: 96, hostOverhead: 64 },
};
const MIB = 2 ** 20;

describe("memory of a VM", () => {
  const cases: [string, number | undefined, number][] = [
    ["no limit", undefined, 256],
    ["a limit that no guest boots with", 1, 128],
    ["a small limit", 32, 128],
    ["just above a step", 33, 192],
    ["what fills a step", 160, 256],
    ["half a gigabyte", 512, 640],
    ["more than the most, which is no whole step", 4096, 3968],
  ];
  for (const [name, limit, expected] of cases) {
    test(`${name}: ${expected} MiB`, () => {
      const limits = limit === undefined ? {} : { memory: limit * MIB };
      assert.equal(vmSize(limits, rule).memoryMib, expected);
    });
  }

  test("a fraction of a MiB counts as a whole one", () => {
    assert.equal(vmSize({ memory: 32 * MIB + 1 }, rule).memoryMib, 192);
  });

  test("every limit fits next to the guest's overhead, with at most one step to spare", () => {
    for (let limit = 32; limit < 3800; limit++) {
      const rest = vmSize({ memory: limit * MIB }, rule).memoryMib - limit - rule.guestOverhead;
      assert.ok(rest >= 0 && rest < 64, `${limit} MiB: ${rest} MiB too much`);
    }
  });
});

describe("vCPUs of a VM", () => {
  const cases: [string, Parameters<typeof vmSize>[0], number][] = [
    ["no limit", {}, 1],
    ["a tenth of a CPU", { cpus: 0.1 }, 1],
    ["one and a half", { cpus: 1.5 }, 2],
    ["a limit is stronger than what was asked for", { cpus: 2, cpuShares: 4096 }, 2],
    ["three CPUs asked for, no limit", { cpuShares: 3072 }, 3],
    ["the shares of a pod that asks for nothing", { cpuShares: 2 }, 1],
    ["more than the most", { cpus: 64 }, 8],
  ];
  for (const [name, limits, expected] of cases) {
    test(`${name}: ${expected}`, () => assert.equal(vmSize(limits, rule).vcpus, expected));
  }

  test("a default above one only applies to pods without a limit", () => {
    const four = { ...rule, defaultVcpus: 4 };
    assert.equal(vmSize({}, four).vcpus, 4);
    assert.equal(vmSize({ cpus: 1 }, four).vcpus, 1);
  });
});

describe("fitting a pod's cgroup", () => {
  const size = { vcpus: 2, memoryMib: 640 };
  test("a VM that fits stays as it is", () => assert.equal(fitToCgroup(size, 704, rule), size));
  test("a VM that does not fit gets what fits, in whole steps", () => {
    assert.deepEqual(fitToCgroup(size, 703, rule), { vcpus: 2, memoryMib: 576 });
  });
  test("a size below the guest's minimum is refused with both figures", () => {
    assert.throws(
      () => fitToCgroup(size, 191, rule),
      (error) =>
        error instanceof HullError && error.code === "FailedPrecondition" && /191 MiB/.test(error.message),
    );
    assert.equal(fitToCgroup(size, 192, rule).memoryMib, 128);
  });
});

describe("limits of a pod", () => {
  const annotate = (values: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [`io.kubernetes.cri.sandbox-${name}`, value]),
    );

  test("limits are read from containerd's annotations", () => {
    const text = { "cpu-quota": "150000", "cpu-period": "100000", "cpu-shares": "1536", memory: "134217728" };
    assert.deepEqual(limitsOfAnnotations(annotate(text)), {
      ...{ cpus: 1.5, cpuShares: 1536, memory: 128 * MIB },
    });
  });
  test("zero, a negative quota and nonsense count as no limit", () => {
    const text = { "cpu-quota": "-1", "cpu-period": "100000", "cpu-shares": "0", memory: "lots" };
    assert.deepEqual(limitsOfAnnotations(annotate(text)), {});
    assert.deepEqual(limitsOfAnnotations({}), {});
  });
  test("limits are read from an OCI spec; the default period is 100 ms", () => {
    const resources = { memory: { limit: 64 * MIB }, cpu: { quota: 50_000, shares: 512 } };
    assert.deepEqual(limitsOfResources(resources), { memory: 64 * MIB, cpus: 0.5, cpuShares: 512 });
    assert.deepEqual(limitsOfResources({ memory: { limit: -1 }, cpu: {} }), {});
    assert.deepEqual(limitsOfResources({ memory: { limit: 2 ** 63 - 4096 } }), {});
    assert.deepEqual(limitsOfResources(undefined), {});
    // JSON's 1e999, and what arithmetic makes of it.
    const endless = Number.POSITIVE_INFINITY;
    const cpu = { quota: endless, period: 1, shares: endless };
    assert.deepEqual(limitsOfResources({ memory: { limit: endless }, cpu }), {});
    assert.deepEqual(limitsOfResources({ cpu: { quota: 1e300, period: 1e-300 } }), {});
  });
});
