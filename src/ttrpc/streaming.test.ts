import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { standstill } from "../../test/testkit/standstill.ts";
import { EchoDefinition } from "../../test/testkit/ttrpc/echo-service.ts";
import { transportPair } from "../../test/testkit/ttrpc/memory-transport.ts";
import { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError, notFound } from "../core/errors.ts";
import { ClientConnection, createClient } from "./client.ts";
import { type Handlers, Server } from "./server.ts";

// Client and server together, over transports that delay and split bytes as the test wants.

function pair(
  handlers: Handlers<typeof EchoDefinition>,
  options: { capacity?: number; chop?: (bytes: Uint8Array) => Uint8Array[] } = {},
) {
  const [near, far] = transportPair(options);
  const server = new Server();
  server.register(EchoDefinition, handlers);
  server.serve(far);
  const connection = new ClientConnection(near);
  return { near, far, connection, client: createClient(connection, EchoDefinition) };
}

const word = (key: string) => ({ key, value: "" });

const handlers: Handlers<typeof EchoDefinition> = {
  echo: (request) => request,
  repeat: async function* (request) {
    for (let i = 0; i < Number(request.value); i++) yield word(`${request.key}${i}`);
  },
  collect: async (requests) => {
    let key = "";
    for await (const request of requests) key += request.key;
    return word(key);
  },
  converse: async function* (requests) {
    for await (const request of requests) yield word(request.key.toUpperCase());
  },
};

async function all(responses: AsyncIterable<{ key: string }>): Promise<string[]> {
  const keys: string[] = [];
  for await (const response of responses) keys.push(response.key);
  return keys;
}

test("all four kinds of call work, whatever the chunks", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.string(), { maxLength: 5 }),
      async (size, words) => {
        const chop = (bytes: Uint8Array) =>
          Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
            bytes.slice(i * size, (i + 1) * size),
          );
        const { client, connection } = pair(handlers, { chop });
        const collect = client.collect();
        const converse = client.converse();
        const answers = all(converse);
        for (const key of words) {
          await collect.send(word(key));
          await converse.send(word(key));
        }
        converse.closeSend();
        assert.deepEqual(await client.echo(word("x")), word("x"));
        assert.deepEqual(await all(client.repeat({ key: "r", value: "3" })), ["r0", "r1", "r2"]);
        assert.deepEqual(await all(client.repeat({ key: "r", value: "0" })), []);
        assert.equal((await collect.finish()).key, words.join(""));
        assert.deepEqual(
          await answers,
          words.map((key) => key.toUpperCase()),
        );
        assert.equal(connection.pending, 0);
        connection.close();
      },
    ),
    { numRuns: 30 },
  );
});

test("errors of streaming handlers reach the client", async () => {
  const { client } = pair({
    repeat: async function* () {
      yield word("one");
      throw notFound("no more");
    },
    collect: () => {
      throw notFound("not here");
    },
  });
  const seen: string[] = [];
  await assert.rejects(
    async () => {
      for await (const response of client.repeat(word(""))) seen.push(response.key);
    },
    (error) => error instanceof HullError && error.code === "NotFound",
  );
  assert.deepEqual(seen, ["one"]);
  await assert.rejects(client.collect().finish(), /Collect: not here/);
});

test("the handler's deadline is the caller's", async () => {
  let limit = Number.NaN;
  const over = deferred<HullError>();
  const { client } = pair({
    echo: async (_request, { deadline }) => {
      limit = deadline.remainingMs;
      deadline.onEnd(over.resolve);
      return await new Promise<never>(() => undefined); // a response could outrun the caller's timer
    },
  });
  await assert.rejects(client.echo(word(""), { deadline: Deadline.after(300) }), /timed out after 300 ms/);
  assert.equal((await over.promise).code, "DeadlineExceeded");
  assert.ok(limit > 0 && limit <= 300, String(limit));
});

test("without a deadline there is none", async () => {
  const { client } = pair({ echo: (_request, { deadline }) => word(String(deadline.remainingMs)) });
  assert.equal((await client.echo(word(""))).key, "Infinity");
});

test("a stream's deadline ends its handler and its reader", async () => {
  const stopped = deferred<void>();
  const { client } = pair({
    repeat: async function* (request, { deadline }) {
      yield request;
      await new Promise<void>((resolve) => deadline.onEnd(() => resolve()));
      stopped.resolve();
    },
  });
  const events = client.repeat(word("a"), { deadline: Deadline.after(30) });
  await assert.rejects(
    all(events),
    (error) => error instanceof HullError && error.code === "DeadlineExceeded",
  );
  await stopped.promise;
});

test("an endless stream waits for a client that does not read: memory stays bounded", async () => {
  let sent = 0;
  const { client, near, connection } = pair(
    {
      repeat: async function* () {
        for (;;) {
          sent += 1;
          yield word("x".repeat(10_000));
        }
      },
    },
    { capacity: 64 << 10 },
  );
  near.pause();
  const events = client.repeat(word(""))[Symbol.asyncIterator]();
  const stalled = await standstill(() => sent);
  assert.ok(stalled > 0 && stalled < 60, `${stalled} messages of 10 kB for a reader that takes none`);
  near.resume();
  for (let i = 0; i < 500; i++) await events.next();
  assert.ok(sent >= 500);
  connection.close();
});

test("a client's send waits for a server that does not read", async () => {
  const { client, far, connection } = pair(handlers, { capacity: 64 << 10 });
  far.pause();
  const collect = client.collect();
  let sent = 0;
  const sending = (async () => {
    for (; sent < 200; sent++) await collect.send(word("y".repeat(10_000)));
  })();
  const queued = await standstill(() => sent);
  assert.ok(queued > 0 && queued < 60, `${queued} messages of 10 kB queued`);
  far.resume();
  await sending;
  assert.equal((await collect.finish()).key.length, 2_000_000);
  connection.close();
});

test("a stream that has ended accepts no more messages", async () => {
  const { client } = pair(handlers);
  const collect = client.collect();
  await collect.finish();
  await assert.rejects(collect.send(word("late")), /accepts no more messages/);
  const canceled = client.converse();
  canceled.cancel();
  await assert.rejects(canceled.send(word("late")), /canceled by the caller/);
});

test("an endless stream to a fast reader does not starve the event loop", async () => {
  const { client, connection } = pair({
    repeat: async function* () {
      for (;;) yield word("x");
    },
  });
  const events = client.repeat(word(""), { deadline: Deadline.after(30) });
  await assert.rejects(
    all(events),
    (error) => error instanceof HullError && error.code === "DeadlineExceeded",
  );
  connection.close();
});
