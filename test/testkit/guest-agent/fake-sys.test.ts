import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FakeSys } from "./fake-sys.ts";

describe("fake sys", () => {
  it("pipes block when full or empty, and fail or end when the other side is closed", () => {
    const { sys } = new FakeSys();
    const [read, write] = sys.pipe();
    const buffer = new Uint8Array(70_000);
    assert.equal(sys.read(read, buffer, 0, 10), -1);
    assert.equal(sys.write(write, buffer, 0, 70_000), 65_536);
    assert.equal(sys.write(write, buffer, 0, 1), -1);
    assert.equal(sys.readable(read), 65_536);
    sys.close(write);
    assert.equal(sys.read(read, buffer, 0, 70_000), 65_536);
    assert.equal(sys.read(read, buffer, 0, 1), 0);
    const [other, broken] = sys.pipe();
    sys.close(other);
    assert.throws(() => sys.write(broken, buffer, 0, 1), { code: "EPIPE" });
    assert.throws(() => sys.close(other), { code: "EBADF" });
  });

  it("a pipe stays open while a duplicate is open", () => {
    const { sys } = new FakeSys();
    const [read, write] = sys.pipe();
    const copy = sys.dup(write);
    sys.close(write);
    assert.equal(sys.read(read, new Uint8Array(1), 0, 1), -1);
    sys.close(copy);
    assert.equal(sys.read(read, new Uint8Array(1), 0, 1), 0);
  });

  it("timers fire in order and not early", () => {
    const fake = new FakeSys();
    const fired: number[] = [];
    for (const ms of [20, 10, 30]) fake.setTimer(ms, () => fired.push(ms));
    fake.clearTimer(fake.setTimer(5, () => fired.push(5)));
    fake.advance(25);
    assert.deepEqual(fired, [10, 20]);
  });

  it("relays count bytes in flight and drain after the target has closed", async () => {
    const fake = new FakeSys();
    const { sys } = fake;
    const [from, into] = sys.pipe();
    const listener = fake.listen();
    const peer = fake.dial(listener);
    const ends: [number, number][] = [];
    const id = sys.relay(from, sys.accept(listener), true, (bytes, errno) => ends.push([bytes, errno]));
    sys.write(into, new Uint8Array(100), 0, 100);
    assert.equal(sys.relayTotal(id), 100);
    await fake.settle();
    assert.equal(fake.received(peer).length, 100);
    fake.hangUp(peer);
    sys.write(into, new Uint8Array(50), 0, 50);
    await fake.settle();
    assert.equal(sys.readable(from), 0);
    sys.close(into);
    await fake.settle();
    assert.deepEqual(ends, [[100, 32]]);
  });

  it("reports children and refuses signals to those that have exited", async () => {
    const fake = new FakeSys();
    const pid = fake.newPid();
    fake.kill(pid, 15);
    fake.end(pid, 1);
    assert.throws(() => fake.kill(pid, 15), { code: "ESRCH" });
    assert.deepEqual(fake.waitpid(), { pid, code: 1, signal: 0 });
    assert.equal(fake.waitpid(), null);
  });

  it("rmdir removes a cgroup with its files, but not while it has processes", () => {
    const { tree } = new FakeSys();
    tree.mkdirp("/sys/fs/cgroup/a");
    tree.write("/sys/fs/cgroup/a/cgroup.procs", "1\n");
    assert.throws(() => tree.rmdir("/sys/fs/cgroup/a"), { code: "EBUSY" });
    tree.write("/sys/fs/cgroup/a/cgroup.procs", "");
    tree.rmdir("/sys/fs/cgroup/a");
    tree.mkdirp("/a/b");
    assert.throws(() => tree.rmdir("/a"), { code: "ENOTEMPTY" });
  });
});
