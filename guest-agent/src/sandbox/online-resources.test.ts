import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { FakeSys } from "../../../test/testkit/guest-agent/fake-sys.ts";
import { onlineResources } from "./online-resources.ts";

const CPUS = "/sys/devices/system/cpu";
const MEMORY = "/sys/devices/system/memory";

describe("online resources", () => {
  let fake: FakeSys;
  let written: string[];

  /** Adds a device with its state file; CPU 0 has none. */
  const add = (path: string, file: string, state: string | undefined): void => {
    fake.tree.mkdirp(path);
    if (state === undefined) return;
    fake.tree.write(`${path}/${file}`, `${state}\n`);
    fake.tree.onWrite(`${path}/${file}`, (text) => written.push(`${path.split("/").at(-1)} ${text}`));
  };

  beforeEach(() => {
    fake = new FakeSys();
    written = [];
    for (const directory of [CPUS, MEMORY]) fake.tree.mkdirp(directory);
    for (const other of [`${CPUS}/cpufreq`, `${CPUS}/cpuidle`, `${MEMORY}/power`]) fake.tree.mkdirp(other);
    fake.tree.write(`${MEMORY}/block_size_bytes`, "8000000\n");
    add(`${CPUS}/cpu0`, "online", undefined);
    for (const block of [0, 1, 2]) add(`${MEMORY}/memory${block}`, "state", "online");
  });

  it("brings hot-plugged CPUs and memory online, once", () => {
    add(`${CPUS}/cpu1`, "online", "0");
    for (const block of [32, 33]) add(`${MEMORY}/memory${block}`, "state", "offline");
    // The 300 MiB of boot memory are two blocks and a partial one.
    onlineResources(fake.sys, { vcpus: 2, memoryMib: 300 + 256 });
    assert.deepEqual(written, ["memory32 online", "memory33 online", "cpu1 1"]);
    onlineResources(fake.sys, { vcpus: 2, memoryMib: 300 + 256 });
    assert.equal(written.length, 3);
  });

  it("brings what it can online and reports what is missing", () => {
    add(`${MEMORY}/memory32`, "state", "offline");
    const refused = (message: RegExp) => ({ code: "FailedPrecondition", message });
    assert.throws(
      () => onlineResources(fake.sys, { vcpus: 1, memoryMib: 300 + 256 }),
      refused(/512 of 556 MiB of memory/),
    );
    assert.deepEqual(written, ["memory32 online"]);
    assert.throws(
      () => onlineResources(fake.sys, { vcpus: 2, memoryMib: 300 }),
      refused(/the guest has 1 of 2 CPUs/),
    );
  });

  it("reports 0 MiB for a kernel without memory hot-plug", () => {
    for (const block of [0, 1, 2]) {
      fake.tree.unlink(`${MEMORY}/memory${block}/state`);
      fake.tree.rmdir(`${MEMORY}/memory${block}`);
    }
    assert.throws(() => onlineResources(fake.sys, { vcpus: 1, memoryMib: 300 }), /0 of 300 MiB/);
  });
});
