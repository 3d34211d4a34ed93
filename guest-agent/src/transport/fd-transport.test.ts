import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FakeSys } from "../../../test/testkit/guest-agent/fake-sys.ts";
import { FdTransport } from "./fd-transport.ts";

function connected() {
  const fake = new FakeSys();
  const listener = fake.listen();
  const peer = fake.dial(listener);
  const transport = new FdTransport(fake.sys, fake.accept(listener));
  const closes: (string | undefined)[] = [];
  transport.onClose((error) => closes.push(error?.message));
  return { fake, peer, transport, closes };
}

describe("fd transport", () => {
  it("waits for a slow peer and reports when it has caught up", async () => {
    const { fake, peer, transport } = connected();
    let drained = 0;
    transport.onDrain(() => drained++);
    assert.equal(transport.write(new Uint8Array(1000)), true);
    assert.equal(transport.write(new Uint8Array(100_000)), false);
    await fake.settle();
    assert.equal(drained, 0);
    let total = 0;
    for (let round = 0; round < 4; round++) {
      total += fake.received(peer).length;
      await fake.settle();
    }
    assert.equal(total, 101_000);
    assert.equal(drained, 1);
  });

  it("passes on bytes that later reads do not change", async () => {
    const { fake, peer, transport } = connected();
    const chunks: Uint8Array[] = [];
    transport.onData((bytes) => chunks.push(bytes));
    for (const text of ["one", "two"]) {
      fake.send(peer, text);
      await fake.settle();
    }
    assert.deepEqual(
      chunks.map((chunk) => new TextDecoder().decode(chunk)),
      ["one", "two"],
    );
  });

  it("pauses and resumes reading", async () => {
    const { fake, peer, transport } = connected();
    let bytes = 0;
    transport.onData((chunk) => {
      bytes += chunk.length;
    });
    transport.pause();
    fake.send(peer, "abc");
    await fake.settle();
    assert.equal(bytes, 0);
    transport.resume();
    await fake.settle();
    assert.equal(bytes, 3);
  });

  it("closes once: by the peer, after writing what is queued, or after 5 s if the peer does not read", async () => {
    const byPeer = connected();
    byPeer.transport.onData(() => undefined);
    byPeer.fake.hangUp(byPeer.peer);
    await byPeer.fake.settle();
    byPeer.transport.close();
    assert.deepEqual(byPeer.closes, [undefined]);

    const own = connected();
    own.transport.write(new Uint8Array(100_000));
    own.transport.close();
    assert.deepEqual(own.closes, []);
    let total = 0;
    for (let round = 0; round < 3; round++) {
      total += own.fake.received(own.peer).length;
      await own.fake.settle();
    }
    assert.equal(total, 100_000);
    assert.deepEqual(own.closes, [undefined]);

    const stuck = connected();
    stuck.transport.write(new Uint8Array(100_000));
    stuck.transport.close();
    stuck.fake.advance(5_000);
    assert.deepEqual(stuck.closes, [undefined]);
    assert.equal(stuck.fake.watchCount, 0);
  });
});
