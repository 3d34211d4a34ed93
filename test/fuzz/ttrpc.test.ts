import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HullError } from "../../src/core/errors.ts";
import { ClientConnection, createClient } from "../../src/ttrpc/client.ts";
import { Server } from "../../src/ttrpc/server.ts";
import { EchoDefinition } from "../testkit/ttrpc/echo-service.ts";
import { type MemoryTransport, transportPair } from "../testkit/ttrpc/memory-transport.ts";
import { RawPeer } from "../testkit/ttrpc/raw-peer.ts";
import { mutate, mutations, numRuns } from "./mutations.ts";

// Well-formed conversations with bytes changed, dropped and doubled: closer to the code than random bytes.
// HULL_FUZZ_RUNS sets how many.

const word = { key: "word", value: "value" };

/** What a client writes in one conversation with all four shapes of call. */
async function conversation(): Promise<{ requests: Uint8Array; responses: Uint8Array }> {
  const [near, far] = transportPair();
  startServer().serve(far);
  const client = createClient(new ClientConnection(near), EchoDefinition);
  const collect = client.collect();
  const converse = client.converse();
  await Promise.all([client.echo(word), collect.send(word), converse.send(word)]);
  await collect.finish();
  for await (const _ of client.repeat(word));
  converse.closeSend();
  for await (const _ of converse);
  return { requests: joined(near), responses: joined(far) };
}

function startServer(): Server {
  const report = (where: string, error: unknown) => {
    if (where !== "connection") reports.push(`${where}: ${error}`); // which is ended where the damage is too great
  };
  const server = new Server({ report });
  server.register(EchoDefinition, {
    echo: (request) => request,
    repeat: async function* (request) {
      yield request;
      yield request;
    },
    collect: async (requests) => {
      let last = word;
      for await (const request of requests) last = request;
      return last;
    },
    converse: async function* (requests) {
      for await (const request of requests) yield request;
    },
  });
  return server;
}

/** Errors that are not HullErrors: bugs. */
const reports: string[] = [];

const joined = (transport: MemoryTransport) => Uint8Array.from(Buffer.concat(transport.written));

test("a server survives damaged conversations", async () => {
  const { requests } = await conversation();
  const server = startServer();
  await fc.assert(
    fc.asyncProperty(mutations, async (list) => {
      const [near, far] = transportPair();
      server.serve(far);
      const peer = new RawPeer(near);
      peer.bytes(mutate(requests, list));
      await peer.settle();
      far.fail(undefined);
    }),
    { numRuns },
  );
  assert.equal(server.connections, 0);
  assert.deepEqual(reports, []);
});

test("a client survives damaged answers: every call ends", async () => {
  const { responses } = await conversation();
  await fc.assert(
    fc.asyncProperty(mutations, async (list) => {
      const [near, far] = transportPair();
      const connection = new ClientConnection(near);
      const client = createClient(connection, EchoDefinition);
      const drain = async (messages: AsyncIterable<unknown>) => {
        for await (const _ of messages);
      };
      const collect = client.collect();
      const calls = [
        drain(client.converse()),
        client.echo(word),
        collect.finish(),
        drain(client.repeat(word)),
      ];
      const outcomes = Promise.allSettled(calls);
      const peer = new RawPeer(far);
      peer.bytes(mutate(responses, list));
      await peer.settle();
      connection.close();
      for (const outcome of await outcomes) {
        if (outcome.status === "rejected")
          assert.ok(outcome.reason instanceof HullError, String(outcome.reason));
      }
      assert.equal(connection.pending, 0);
    }),
    { numRuns },
  );
});
