import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EchoDefinition } from "../../test/testkit/ttrpc/echo-service.ts";
import { bytes, hex } from "../../test/testkit/ttrpc/hex.ts";
import { transportPair } from "../../test/testkit/ttrpc/memory-transport.ts";
import { RawPeer } from "../../test/testkit/ttrpc/raw-peer.ts";
import { Deadline } from "../core/deadline.ts";
import { type ErrorCode, HullError } from "../core/errors.ts";
import { ClientConnection, type ClientOptions, createClient } from "./client.ts";
import { decodeRequest } from "./envelope.ts";
import { MAX_PAYLOAD } from "./frame.ts";

function connect(options: ClientOptions = {}) {
  const [near, far] = transportPair();
  const connection = new ClientConnection(near, { peer: "the guest agent", ...options });
  const client = createClient(connection, EchoDefinition);
  return { client, connection, near, far, peer: new RawPeer(far) };
}

const fails = (code: ErrorCode, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof HullError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
};

const message = { key: "a", value: "" };

test("ids are odd and increase, responses may arrive in any order", async () => {
  const { client, peer, near, connection } = connect();
  const first = client.echo(message);
  const second = client.echo(message);
  await peer.settle();
  assert.deepEqual(
    [near.written[0]?.[7], near.written[0]?.[7 + (near.written[0]?.length ?? 0) / 2]],
    [1, 3],
    "both requests go out in one write",
  );
  peer.frame(3, 2, 0, bytes("12030a0133"));
  peer.frame(1, 2, 0, bytes("12030a0131"));
  assert.equal((await second).key, "3");
  assert.equal((await first).key, "1");
  assert.equal(connection.pending, 0);
});

test("deadline and metadata go with the request", async () => {
  const { client, peer, near } = connect();
  const deadline = Deadline.after(5000);
  const call = client.echo(message, {
    deadline,
    metadata: new Map([["containerd-namespace-ttrpc", ["k8s.io"]]]),
  });
  await peer.settle();
  const request = decodeRequest((near.written[0] as Uint8Array).subarray(10));
  assert.deepEqual([request.service, request.method], ["hull.test.Echo", "Echo"]);
  assert.ok(request.timeoutNano > 4e9 && request.timeoutNano <= 5e9, String(request.timeoutNano));
  assert.deepEqual(request.metadata, new Map([["containerd-namespace-ttrpc", ["k8s.io"]]]));
  peer.frame(1, 2, 0, bytes("12030a0131"));
  await call;
  deadline.dispose();
});

test("an error status becomes a HullError with its code and the name of the call", async () => {
  const { client, peer } = connect();
  const call = client.echo(message);
  peer.frame(1, 2, 0, bytes("0a06 0805 1202 6e6f"));
  await assert.rejects(call, fails("NotFound", /^hull\.test\.Echo\/Echo: no$/));
});

test("a deadline ends the call; a late response is ignored", async () => {
  const { client, connection, peer } = connect();
  const deadline = Deadline.after(60_000);
  const call = client.echo(message, { deadline });
  deadline.cancel("shutting down");
  await assert.rejects(call, fails("Canceled", /Echo: shutting down/));
  await assert.rejects(client.echo(message, { deadline }), fails("Canceled", /shutting down/));
  assert.equal(connection.pending, 0);
  peer.frame(1, 2, 0, bytes("12030a0131"));
  peer.frame(1, 3, 0);
  await peer.settle();
  await assert.rejects(
    client.echo(message, { deadline: Deadline.after(5) }),
    fails("DeadlineExceeded", /5 ms/),
  );
});

test("when the peer dies, every call fails with the reason and what is known about it", async () => {
  const { client, connection, near, peer } = connect({ describeLoss: () => "console: Kernel panic" });
  const unary = client.echo(message);
  const stream = client.repeat(message)[Symbol.asyncIterator]();
  const collect = client.collect();
  await peer.settle();
  const died = new Error("read ECONNRESET");
  near.fail(died);
  const lost = fails("Unavailable", /guest agent is lost: read ECONNRESET: console: Kernel panic/);
  await assert.rejects(unary, lost);
  await assert.rejects(stream.next(), lost);
  await assert.rejects(collect.send(message), lost);
  await assert.rejects(collect.finish(), lost);
  await assert.rejects(client.echo(message), lost);
  assert.equal(await connection.closed, died);
});

test("close() fails pending calls and reports no error", async () => {
  const { client, connection, far, peer } = connect();
  const call = client.echo(message);
  connection.close();
  await assert.rejects(call, fails("Unavailable", /lost: closed/));
  assert.equal(await connection.closed, undefined);
  await peer.settle();
  assert.ok(far.closed);
});

test("oversize requests fail without being sent; the connection stays open", async () => {
  const { client, near, peer } = connect();
  await assert.rejects(
    client.echo({ key: "x".repeat(MAX_PAYLOAD), value: "" }),
    fails("ResourceExhausted", /larger than ttrpc's limit/),
  );
  assert.equal(near.written.length, 0);
  const next = client.echo(message);
  peer.frame(1, 2, 0, bytes("12030a0131"));
  assert.equal((await next).key, "1");
});

/**
 * What a server may send that is not ttrpc, and the reported reason. Calls 1 (unary) and 3 (client stream)
 * are open.
 */
const breaches: [string, string, RegExp][] = [
  ["one byte more than the most", "00400001 00000001 02 00", /announces a frame of 4194305 bytes/],
  ["2 GiB", "7fffffff 00000001 02 00", /announces a frame of 2147483647 bytes/],
  ["2 GiB on a stream that never was", "7fffffff 7f7f7f7f 7f 7f", /announces a frame of 2147483647 bytes/],
  ["text", hex(new TextEncoder().encode("SSH-2.0-OpenSSH_9")), /announces a frame of 1397966893 bytes/],
  ["a request", "00000000 00000001 01 00", /Echo: a frame of type 1/],
  ["an unknown type", "00000000 00000001 09 00", /Echo: a frame of type 9/],
  ["a stream that was never opened", "00000000 00000005 02 00", /a frame of stream 5, which was never/],
  ["a stream of the server's own", "00000000 00000002 03 00", /a frame of stream 2, which was never/],
  ["an answer that cannot be decoded", "00000002 00000001 02 00 0aff", /Echo: response cannot be decoded/],
  [
    "a message that cannot be decoded",
    "00000004 00000001 02 00 12020aff",
    /Echo: response cannot be decoded/,
  ],
  ["data in a unary call", "00000000 00000001 03 00", /Echo: stream data in a call without streams/],
  ["data in a call with one answer", "00000000 00000003 03 05", /Collect: stream data in a unary call/],
  ["a status that gRPC does not have", "00000004 00000001 02 00 0a020863", /Echo: a status of code 99/],
];

for (const [what, frame, reason] of breaches) {
  test(`a server that violates the protocol loses the connection at once: ${what}`, async () => {
    const { client, connection, near, peer } = connect();
    const calls = [client.echo(message), client.collect().finish()];
    const outcomes = Promise.allSettled(calls);
    await peer.settle();
    peer.bytes(bytes(frame));
    await peer.settle();
    assert.ok(near.closed, "the connection stays open");
    for (const outcome of await outcomes) {
      assert.equal(outcome.status, "rejected");
      fails("Unavailable", /connection to the guest agent is lost: /)(outcome.reason);
      assert.match(outcome.reason.message, reason);
    }
    assert.match((await connection.closed)?.message ?? "", reason);
  });
}

test("too many calls fail at once", async () => {
  const { client, connection } = connect({ maxCalls: 1 });
  const call = client.echo(message);
  await assert.rejects(
    client.echo(message),
    fails("ResourceExhausted", /1 calls are in flight to the guest agent/),
  );
  connection.close();
  await assert.rejects(call);
});

test("an endless stream that nobody reads blocks the connection, then fails only that stream", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { client, peer, near } = connect();
  const events = client.repeat(message)[Symbol.asyncIterator]();
  for (let i = 0; i < 300; i++) peer.frame(1, 3, 0, bytes("0a0131"));
  await peer.settle();
  assert.ok(near.paused);
  t.mock.timers.tick(1000);
  assert.equal(near.paused, false);
  let read = 0;
  await assert.rejects(
    async () => {
      for (;;) {
        await events.next();
        read += 1;
      }
    },
    fails("ResourceExhausted", /stream aborted/),
  );
  assert.ok(read >= 256 && read < 300, String(read));
});

test("a reader that stops early ends its stream and unblocks the connection", async () => {
  const { client, connection, peer, near } = connect();
  const events = client.repeat(message);
  for (let i = 0; i < 300; i++) peer.frame(1, 3, 0, bytes("0a0131"));
  await peer.settle();
  assert.ok(near.paused);
  for await (const _ of events) break;
  assert.equal(connection.pending, 0);
  assert.equal(near.paused, false);
});

test("garbage from the server fails nothing but calls", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), async (chunks) => {
      const { client, connection, peer } = connect();
      const outcomes = Promise.allSettled([client.echo(message), client.collect().finish()]);
      for (const chunk of chunks) peer.bytes(chunk);
      await peer.settle();
      connection.close();
      for (const outcome of await outcomes) {
        if (outcome.status === "rejected") assert.ok(outcome.reason instanceof HullError);
      }
    }),
    { numRuns: 200 },
  );
});
