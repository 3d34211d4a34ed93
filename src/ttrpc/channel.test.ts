import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { transportPair } from "../../test/testkit/ttrpc/memory-transport.ts";
import { HullError } from "../core/errors.ts";
import { type ChannelOptions, FrameChannel } from "./channel.ts";
import { writeHeader } from "./frame.ts";

function open(capacity: number, options: ChannelOptions = {}) {
  const [near, far] = transportPair({ capacity });
  const closes: (Error | undefined)[] = [];
  const frames: number[] = [];
  const sink = {
    frame: (id: number) => frames.push(id),
    oversize: () => undefined,
    closed: (error: Error | undefined) => closes.push(error),
  };
  return { near, far, closes, frames, channel: new FrameChannel(near, sink, options) };
}

function frame(id: number, length: number): Uint8Array {
  const bytes = new Uint8Array(10 + length);
  writeHeader(bytes, length, id, 3, 0);
  return bytes;
}

test("frames of one turn are sent in one write, large ones without a copy", async () => {
  const { near, channel } = open(Number.POSITIVE_INFINITY);
  const large = frame(5, 100_000);
  channel.send(frame(1, 5));
  channel.send(frame(3, 5));
  channel.send(large);
  await turn();
  assert.deepEqual(
    near.written.map((bytes) => bytes.length),
    [30, 100_010],
  );
  assert.equal(near.written[1], large);
});

test("a peer that does not read blocks first the sender, then reading, until it reads", async () => {
  const { near, far, channel, frames } = open(1000, { holdWhenCongested: true });
  far.pause();
  for (let i = 0; i < 6; i++) channel.send(frame(2 * i + 1, 64 << 10));
  await turn();
  assert.equal(near.written.length, 1, "the transport was given more after it said no");
  assert.ok(near.paused, "still reads from a peer that takes no answers");
  far.write(frame(7, 0));
  let ready = false;
  const waiting = channel.ready().then(() => {
    ready = true;
  });
  await turn();
  assert.equal(ready, false);
  assert.deepEqual(frames, []);
  far.resume();
  await waiting;
  await channel.flushed();
  await turn();
  assert.equal(channel.queuedBytes, 0);
  assert.equal(near.paused, false);
  await turn();
  assert.deepEqual(frames, [7]);
});

test("a peer that never reads is disconnected at the limit", async () => {
  const { far, channel, closes } = open(10, { maxQueuedBytes: 100_000 });
  far.pause();
  for (let i = 0; i < 20; i++) {
    channel.send(frame(1, 10_000));
    await turn();
  }
  assert.equal(closes.length, 1);
  assert.ok(closes[0] instanceof HullError && closes[0].code === "ResourceExhausted");
  assert.equal(channel.queuedBytes, 0);
  await channel.ready();
  await channel.flushed();
});

test("closing sends what is queued and reports the end once", async () => {
  const { near, channel, closes } = open(Number.POSITIVE_INFINITY);
  channel.send(frame(1, 0));
  channel.close();
  channel.close();
  channel.send(frame(3, 0));
  near.fail(new Error("late"));
  await turn();
  assert.equal(near.written.length, 1);
  assert.deepEqual(closes, [undefined]);
});

test("reading is paused until every holder releases it", () => {
  const { near, channel } = open(10);
  assert.ok(channel.hold("a") && channel.hold("b"));
  channel.release("a");
  assert.ok(near.paused);
  channel.release("b");
  assert.equal(near.paused, false);
});
