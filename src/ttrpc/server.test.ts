import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EchoDefinition } from "../../test/testkit/ttrpc/echo-service.ts";
import { bytes } from "../../test/testkit/ttrpc/hex.ts";
import { transportPair } from "../../test/testkit/ttrpc/memory-transport.ts";
import { RawPeer } from "../../test/testkit/ttrpc/raw-peer.ts";
import { deferred } from "../core/deferred.ts";
import { HullError, notFound } from "../core/errors.ts";
import { MAX_PAYLOAD } from "./frame.ts";
import { type Handlers, Server, type ServerOptions } from "./server.ts";

function start(handlers: Handlers<typeof EchoDefinition>, options: ServerOptions = {}) {
  const reports: string[] = [];
  const server = new Server({ report: (where, error) => reports.push(`${where}: ${error}`), ...options });
  server.register(EchoDefinition, handlers);
  const [near, far] = transportPair();
  server.serve(far);
  return { server, peer: new RawPeer(near), near, far, reports };
}

const echo: Handlers<typeof EchoDefinition> = { echo: (request) => request };

test("a call is answered on the client's stream id", async () => {
  const { peer } = start(echo);
  peer.request(1, "Echo", { key: "a" });
  peer.request(7, "Echo", {});
  assert.deepEqual(await peer.settle(), ["1 response 0 0a0161", "7 response 0"]);
});

test("unknown services, unknown methods and methods without a handler are Unimplemented", async () => {
  const { peer } = start(echo);
  peer.request(1, "Echo", {}, 0, "a.B");
  peer.request(3, "Nothing");
  peer.request(5, "Repeat");
  assert.deepEqual(await peer.settle(), [
    "1 response 12 service a.B",
    "3 response 12 method Nothing",
    "5 response 12 hull.test.Echo/Repeat is not supported by this server",
  ]);
});

test("one definition is served under several names; the handler knows which", async () => {
  const server = new Server();
  const handlers: Handlers<typeof EchoDefinition> = {
    echo: (_request, { service }) => ({ key: service, value: "" }),
  };
  server.register(EchoDefinition, handlers, { as: ["v2", "v3"] });
  const [near, far] = transportPair();
  server.serve(far);
  const peer = new RawPeer(near);
  peer.request(1, "Echo", {}, 0, "v3");
  peer.request(3, "Echo", {}, 0, "hull.test.Echo");
  assert.deepEqual(await peer.settle(), ["3 response 12 service hull.test.Echo", "1 response 0 0a027633"]);
  assert.throws(() => server.register(EchoDefinition, {}, { as: ["v2"] }), /twice/);
});

test("stream ids must be odd and increase; a call whose id is reused ends with that error", async () => {
  const { peer } = start(echo);
  peer.request(2, "Echo");
  peer.request(5, "Echo");
  peer.request(5, "Echo");
  peer.request(3, "Echo");
  peer.request(9, "Echo");
  assert.deepEqual(await peer.settle(), [
    "2 response 3 stream id of a client must be odd",
    "5 response 3 stream id cannot be used again and must increase",
    "3 response 3 stream id cannot be used again and must increase",
    "9 response 0",
  ]);
});

test("undecodable requests are code 3, undecodable payloads 13, and the connection stays open", async () => {
  const { peer } = start(echo);
  peer.frame(1, 1, 0, bytes("0aff"));
  peer.frame(3, 1, 0, bytes("0a0e68756c6c2e746573742e4563686f 1204 4563686f 1a02 0aff"));
  peer.request(5, "Echo");
  const answers = await peer.settle();
  assert.match(answers[0] ?? "", /^1 response 3 request cannot be decoded/);
  assert.match(answers[1] ?? "", /^3 response 13 payload of hull.test.Echo\/Echo cannot be decoded/);
  assert.equal(answers[2], "5 response 0");
});

test("frames of unknown type are ignored, oversize ones refused", async () => {
  const { peer } = start(echo);
  peer.frame(1, 9, 0, bytes("00"));
  peer.frame(1, 2, 0);
  peer.frame(1, 1, 0, new Uint8Array(MAX_PAYLOAD + 1));
  peer.request(3, "Echo");
  const answers = await peer.settle();
  assert.match(answers[0] ?? "", /^1 response 8 message of 4194305 bytes/);
  assert.deepEqual(answers.slice(1), ["3 response 0"]);
});

test("a frame that is too large to be skipped ends the connection", async () => {
  const { peer, near, reports } = start(echo);
  peer.bytes(bytes("01000000 00000001 01 00"));
  assert.match((await peer.settle())[0] ?? "", /^1 response 8 message of 16777216 bytes/);
  assert.equal(near.closed, false);
  const { peer: garbage, near: end, reports: other } = start(echo);
  garbage.bytes(bytes("7fffffff 00000001 01 00"));
  await garbage.settle();
  assert.ok(end.closed, "2 GiB are awaited");
  assert.deepEqual(reports, []);
  assert.match(other[0] ?? "", /announces a frame of 2147483647 bytes, more than ttrpc allows/);
});

test("an error of a handler becomes a status; one that is not a HullError is reported", async () => {
  const { peer, reports } = start({
    echo: (request) => {
      if (request.key === "bug") throw new TypeError("x is undefined");
      throw notFound("container a: not found");
    },
  });
  peer.request(1, "Echo");
  peer.request(3, "Echo", { key: "bug" });
  assert.deepEqual(await peer.settle(), [
    "1 response 5 container a: not found",
    "3 response 2 x is undefined",
  ]);
  assert.deepEqual(reports, ["hull.test.Echo/Echo: TypeError: x is undefined"]);
});

test("a file that a handler does not find is not the client's NotFound", async () => {
  const { peer } = start({
    echo: () => {
      throw Object.assign(new Error("ENOENT: losetup"), { code: "ENOENT" });
    },
  });
  peer.request(1, "Echo");
  assert.deepEqual(await peer.settle(), ["1 response 2 ENOENT: losetup"]);
});

test("calls run concurrently: one that waits blocks no other", async () => {
  const gate = deferred<void>();
  const { peer } = start({
    echo: async (request) => {
      if (request.key === "wait") await gate.promise;
      return request;
    },
  });
  peer.request(1, "Echo", { key: "wait" });
  peer.request(3, "Echo");
  assert.deepEqual(await peer.settle(), ["3 response 0"]);
  gate.resolve();
  assert.deepEqual(await peer.settle(), ["1 response 0 0a0477616974"]);
});

test("too many pending calls of a method are refused, those of other methods are not", async () => {
  const gate = deferred<void>();
  const { peer } = start(
    {
      echo: (request) => gate.promise.then(() => request),
      collect: async () => ({ key: "", value: "" }),
    },
    { maxCalls: 2 },
  );
  for (const id of [1, 3, 5]) peer.request(id, "Echo");
  peer.request(7, "Collect");
  const [refused, ...answered] = await peer.settle();
  assert.match(
    refused ?? "",
    /^5 response 8 2 calls of .*Echo are in flight on this connection, the maximum$/,
  );
  assert.deepEqual(answered, ["7 response 0"]);
  gate.resolve();
  await peer.settle();
  peer.request(9, "Echo");
  assert.deepEqual(await peer.settle(), ["9 response 0"]);
});

test("a unary handler outlives its client; a streaming one and `connection` do not", async () => {
  const reasons: string[] = [];
  const finished: string[] = [];
  const gate = deferred<void>();
  const { peer, far, server } = start({
    echo: async (request, context) => {
      context.deadline.onEnd(() => reasons.push("unary"));
      context.connection.onEnd(() => reasons.push("connection"));
      await gate.promise;
      finished.push("unary");
      return request;
    },
    repeat: async function* (request, context) {
      context.deadline.onEnd(() => reasons.push("stream"));
      yield request;
      await new Promise<void>((resolve) => context.deadline.onEnd(() => resolve()));
      finished.push("stream");
    },
  });
  peer.request(1, "Echo");
  peer.request(3, "Repeat", {}, 1);
  await peer.settle();
  far.fail(new Error("reset"));
  await peer.settle();
  assert.deepEqual(reasons, ["connection", "stream"]);
  assert.deepEqual(finished, ["stream"]);
  assert.equal(server.connections, 0);
  gate.resolve();
  await peer.settle();
  assert.deepEqual(finished, ["stream", "unary"]);
});

test("data: for closed, unary and unknown streams, and data in the closing frame, are code 3", async () => {
  const collect: Handlers<typeof EchoDefinition> = {
    collect: async (requests) => {
      let value = "";
      for await (const request of requests) value += request.key;
      return { key: "", value };
    },
    echo: () => new Promise(() => undefined),
  };
  const { peer } = start(collect);
  peer.data(1, { key: "x" });
  peer.request(3, "Collect", undefined, 2);
  peer.data(3, { key: "a" });
  peer.data(3, {});
  peer.data(3, { key: "b" });
  peer.frame(3, 3, 5);
  peer.request(5, "Collect", undefined, 2);
  peer.data(5, { key: "a" }, 1);
  peer.request(7, "Collect", undefined, 1);
  peer.data(7, { key: "a" });
  peer.request(9, "Echo");
  peer.data(9, { key: "a" });
  const answers = await peer.settle();
  assert.deepEqual(answers.sort(), [
    "1 response 3 stream is no longer active",
    "3 response 0 12026162",
    "5 response 3 the frame that closes a stream cannot carry data",
    "7 response 3 stream accepts no data: the client closed it",
    "9 response 3 stream accepts no data: the client closed it",
  ]);
});

test("a server stream ends with an empty closing frame, or with an error status", async () => {
  const { peer } = start({
    repeat: async function* (request) {
      yield { key: "1", value: "" };
      yield { key: "", value: "" };
      if (request.key === "fail") throw notFound("gone");
    },
  });
  peer.request(1, "Repeat", {}, 1);
  assert.deepEqual(await peer.settle(), ["1 data flags=0 0a0131", "1 data flags=0", "1 data flags=5"]);
  peer.request(3, "Repeat", { key: "fail" }, 1);
  assert.deepEqual(await peer.settle(), ["3 data flags=0 0a0131", "3 data flags=0", "3 response 5 gone"]);
});

test("shutdown refuses new calls, waits for pending ones, sends their responses and closes", async () => {
  const gate = deferred<void>();
  const { server, peer, near } = start({ echo: (request) => gate.promise.then(() => request) });
  peer.request(1, "Echo");
  await peer.settle();
  const done = server.shutdown(60_000);
  peer.request(3, "Echo");
  assert.deepEqual(await peer.settle(), ["3 response 14 server is shutting down"]);
  assert.equal(near.closed, false);
  gate.resolve();
  await done;
  assert.deepEqual(await peer.settle(), ["1 response 0"]);
  assert.ok(near.closed);
  const [late, lateFar] = transportPair();
  server.serve(lateFar);
  assert.ok(lateFar.closed);
  late.close();
});

test("shutdown waits no longer than its limit", async () => {
  const { server, peer, near } = start({ echo: () => new Promise(() => undefined) });
  peer.request(1, "Echo");
  await peer.settle();
  await server.shutdown(20);
  await peer.settle();
  assert.ok(near.closed);
});

test("shutdown waits up to its limit for the clients to hang up", async () => {
  const gate = deferred<void>();
  const { server, peer, near } = start({ echo: (request) => gate.promise.then(() => request) });
  peer.request(1, "Echo");
  await peer.settle();
  const done = server.shutdown(60_000, 60_000);
  gate.resolve();
  assert.deepEqual(await peer.settle(), ["1 response 0"]);
  assert.equal(near.closed, false);
  near.close();
  await done;

  const { server: other, peer: silent, near: open } = start({});
  await other.shutdown(60_000, 20);
  await silent.settle();
  assert.ok(open.closed);
});

test("a handler that stops reading a client's stream keeps its call", async () => {
  const { peer } = start({
    collect: async (requests) => {
      for await (const request of requests) return request;
      throw new HullError("Internal", "no message");
    },
    converse: async function* (requests) {
      for await (const request of requests) {
        yield request;
        break;
      }
      await new Promise((resolve) => setImmediate(resolve));
      yield { key: "end", value: "" };
    },
  });
  peer.request(1, "Converse", undefined, 2);
  peer.data(1, { key: "a" });
  peer.data(1, { key: "b" });
  assert.deepEqual(await peer.settle(), [
    "1 data flags=0 0a0161",
    "1 data flags=0 0a03656e64",
    "1 data flags=5",
  ]);
});

test("a stream whose handler does not read blocks the connection, then only the stream fails", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { peer, far } = start({ ...echo, collect: () => new Promise(() => undefined) });
  peer.request(1, "Collect", undefined, 2);
  for (let i = 0; i < 256; i++) peer.data(1, { key: "x" });
  await peer.settle();
  assert.ok(far.paused);
  peer.request(3, "Echo");
  assert.deepEqual(await peer.settle(), []);
  t.mock.timers.tick(1000);
  assert.equal(far.paused, false);
  const answers = await peer.settle();
  assert.match(answers[0] ?? "", /^1 response 8 stream aborted/);
  assert.equal(answers[1], "3 response 0");
});

test("garbage is answered or ignored; the server serves the next connection", async () => {
  const server = new Server();
  server.register(EchoDefinition, echo);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), async (chunks) => {
      const [near, far] = transportPair();
      server.serve(far);
      const peer = new RawPeer(near);
      for (const chunk of chunks) peer.bytes(chunk);
      await peer.settle();
      near.fail(undefined);
      far.fail(undefined);
    }),
    { numRuns: 200 },
  );
  const [near, far] = transportPair();
  server.serve(far);
  const peer = new RawPeer(near);
  peer.request(1, "Echo");
  assert.deepEqual(await peer.settle(), ["1 response 0"]);
});
