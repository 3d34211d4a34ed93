import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { FakeSys } from "../../../test/testkit/guest-agent/fake-sys.ts";
import { RootDisk } from "./root-disk.ts";

const PATH = "/run/hull/roots/c";
const wanted = { serial: "hull-1", fsType: "ext4", readOnly: false, options: ["discard"] };

let fake: FakeSys;
let disk: RootDisk;

beforeEach(() => {
  fake = new FakeSys();
  disk = new RootDisk(fake.sys, PATH);
  fake.tree.mkdirp("/dev");
  fake.tree.mkdirp("/run/hull");
  for (const [name, serial] of Object.entries({ vda: "other", vdb: "hull-1" })) {
    fake.tree.write(`/dev/${name}`, "");
    fake.tree.mkdirp(`/sys/class/block/${name}`);
    fake.tree.write(`/sys/class/block/${name}/serial`, serial);
    fake.tree.write(`/sys/class/block/${name}/dev`, "254:16\n");
  }
});

describe("root disk", () => {
  it("mounts the disk with the serial number, and unmounts it once", async () => {
    await disk.mount(wanted, 1000);
    assert.ok(disk.mounted);
    disk.unmount();
    disk.unmount();
    assert.deepEqual(fake.calls, [`mount /dev/vdb ${PATH} ext4 0 discard`, `umount ${PATH}`]);
    assert.equal(fake.tree.has(PATH), false);
    assert.equal(fake.openFds, 0);
  });

  it("waits until the device node can be opened", async () => {
    fake.unborn.add("/dev/vdb");
    const mounting = disk.mount(wanted, 1000);
    await fake.settle();
    assert.deepEqual(fake.calls, []);
    fake.unborn.clear();
    fake.advance(10);
    await mounting;
    assert.equal(fake.calls.length, 1);
    assert.equal(fake.openFds, 0);
    assert.equal(fake.timerCount, 0);
  });

  for (const wrong of [
    { fsType: "ext4\0" },
    { fsType: "overlay" },
    { serial: "../x" },
    { options: ["a,b"] },
    { options: Array<string>(33).fill("a") },
  ]) {
    it(`refuses ${JSON.stringify(wrong).slice(0, 60)}`, async () => {
      await assert.rejects(disk.mount({ ...wanted, ...wrong }, 1000), { code: "InvalidArgument" });
      assert.deepEqual(fake.calls, []);
    });
  }
});
