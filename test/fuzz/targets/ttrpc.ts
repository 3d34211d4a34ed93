import assert from "node:assert/strict";
import { HullError } from "../../../src/core/errors.ts";
import { ClientConnection, createClient } from "../../../src/ttrpc/client.ts";
import { Server } from "../../../src/ttrpc/server.ts";
import { EchoDefinition } from "../../testkit/ttrpc/echo-service.ts";
import { type MemoryTransport, transportPair } from "../../testkit/ttrpc/memory-transport.ts";
import { RawPeer } from "../../testkit/ttrpc/raw-peer.ts";
import { piecesOf } from "../engine/pieces.ts";
import type { Target } from "../engine/target.ts";

const word = { key: "word", value: "value" };
const chop = (bytes: Uint8Array) => piecesOf(bytes);

/**
 * Starts a server with all four kinds of calls. `faults` collects errors other than those of the connection:
 * bugs.
 */
function startServer(faults: string[]): Server {
  const report = (where: string, error: unknown) => {
    if (where !== "connection") faults.push(`${where}: ${error}`); // closed after unrecoverable input
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

/** Resolves with the bytes of both ends in one conversation. */
async function conversation(): Promise<{ requests: Uint8Array; answers: Uint8Array }> {
  const [near, far] = transportPair();
  startServer([]).serve(far);
  const client = createClient(new ClientConnection(near), EchoDefinition);
  const collect = client.collect();
  const converse = client.converse();
  await Promise.all([client.echo(word), collect.send(word), converse.send(word)]);
  await collect.finish();
  for await (const _ of client.repeat(word));
  converse.closeSend();
  for await (const _ of converse);
  const joined = (transport: MemoryTransport) => Buffer.concat(transport.written);
  return { requests: joined(near), answers: joined(far) };
}

/** Resolves with targets for server and client, each with a peer that sends anything. */
export async function ttrpcTargets(): Promise<Target[]> {
  const { requests, answers } = await conversation();
  return [
    {
      name: "ttrpc-server",
      seeds: [requests],
      async run(input) {
        const faults: string[] = [];
        const server = startServer(faults);
        const [near, far] = transportPair({ chop });
        server.serve(far);
        const peer = new RawPeer(near);
        peer.bytes(input);
        const answered = await peer.settle();
        far.fail(undefined);
        assert.equal(server.connections, 0, "a connection is left");
        assert.deepEqual(faults, []);
        return answered.length > 0;
      },
    },
    {
      name: "ttrpc-client",
      seeds: [answers],
      async run(input) {
        const [near, far] = transportPair({ chop });
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
        peer.bytes(input);
        await peer.settle();
        connection.close();
        let accepted = false;
        for (const outcome of await outcomes) {
          accepted ||= outcome.status === "fulfilled";
          if (outcome.status === "rejected")
            assert.ok(outcome.reason instanceof HullError, String(outcome.reason));
        }
        assert.equal(connection.pending, 0, "a call is left");
        return accepted;
      },
    },
  ];
}
