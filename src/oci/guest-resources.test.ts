import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HullError } from "../core/errors.ts";
import { guestResources, requireFits } from "./guest-resources.ts";
import type { OciResources } from "./spec.ts";

const guest = (resources: OciResources, vcpus = 2) => guestResources(resources, { vcpus });

test("limits that cgroup v2 has are kept", () => {
  const resources = {
    devices: [{ allow: false, access: "rwm" }],
    pids: { limit: 100 },
    memory: { limit: 64 << 20, reservation: 32 << 20 },
    cpu: { shares: 512, quota: 50_000, period: 100_000 },
    hugepageLimits: [{ pageSize: "2MB", limit: 0 }],
    unified: { "memory.high": "1000000" },
  };
  assert.deepEqual(guest(resources), resources);
});

test("limits that only cgroup v1 has, or for the host's devices, network and swap, are dropped", () => {
  const resources: OciResources = {
    memory: {
      limit: 1 << 20,
      swap: 2 << 20,
      kernel: 1,
      kernelTCP: 1,
      swappiness: 10,
      disableOOMKiller: true,
    },
    cpu: { shares: 2, realtimePeriod: 1, realtimeRuntime: 1 },
    blockIO: { weight: 10, throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1 }] },
    network: { classID: 1 },
    rdma: { mlx5_1: { hcaHandles: 1 } },
    hugepageLimits: [{ pageSize: "1GB", limit: 0 }],
    unified: { "io.max": "8:0 rbps=1", "cpuset.cpus": "9", "memory.swap.max": "0" },
  };
  assert.deepEqual(guest(resources), { memory: { limit: 1 << 20 }, cpu: { shares: 2 } });
});

describe("a cpuset of the host", () => {
  const cases: [string, string | undefined][] = [
    ["0", "0"],
    ["0-1", "0-1"],
    ["0-7", "0-1"],
    ["1-3,6", "1"],
    ["0,1", "0,1"],
    ["2-3", undefined],
    ["5", undefined],
    ["", undefined],
    ["0-1\n", "0-1"],
    ["x", undefined],
    ["99999999999999999999999-0", undefined],
  ];
  for (const [cpus, expected] of cases) {
    test(`${JSON.stringify(cpus)} is ${expected ?? "all"} in a VM with 2`, () => {
      assert.equal(guest({ cpu: { cpus } }).cpu?.cpus, expected);
    });
  }
  test("memory nodes: the guest has one", () => {
    assert.equal(guest({ cpu: { mems: "0-1" } }).cpu?.mems, "0");
    assert.equal(guest({ cpu: { mems: "1" } }).cpu?.mems, undefined);
  });
});

test("removing a CPU limit gets a period", () => {
  assert.deepEqual(guest({ cpu: { quota: -1 } }).cpu, { quota: -1, period: 100_000 });
  assert.deepEqual(guest({ cpu: { quota: -1, period: 50_000 } }).cpu, { quota: -1, period: 50_000 });
});

test("an update may set a limit up to the VM's memory, not above it", () => {
  const size = { vcpus: 1, memoryMib: 256 };
  for (const limit of [0, -1, 256 << 20]) requireFits("c", { memory: { limit } }, size);
  requireFits("c", {}, size);
  assert.throws(
    () => requireFits("c", { memory: { limit: (256 << 20) + 1 } }, size),
    (error) =>
      error instanceof HullError && error.code === "FailedPrecondition" && /256 MiB/.test(error.message),
  );
});
