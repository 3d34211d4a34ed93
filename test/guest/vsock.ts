/**
 * Tests of native/vsock.c and src/vsock/native.ts on a kernel with vsock loopback (vsock_loopback).
 * test/e2e/vsock.e2e.test.ts runs them in a container, since few hosts have that module.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import type { Server, Socket } from "node:net";
import { afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Deadline } from "../../src/core/deadline.ts";
import { AGENT_PORT } from "../../src/core/guest-ports.ts";
import { NativeVsock } from "../../src/vsock/native.ts";

const vsock = new NativeVsock(process.env.HULL_VSOCK_ADDON ?? "");
/** VMADDR_CID_LOCAL and VMADDR_CID_ANY (vsock(7)). */
const LOCAL = 1;
const ANY = 0xffffffff;
const PORT = 5000;

const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) {
    server.close();
    await once(server, "close");
  }
});

function listen(onConnection: (socket: Socket) => void): void {
  const server = vsock.listen(ANY, PORT, (socket) => {
    sockets.push(socket);
    onConnection(socket);
  });
  servers.push(server);
}

async function connect(port = PORT): Promise<Socket> {
  const deadline = Deadline.after(20_000, "connect");
  const socket = await vsock.connect(LOCAL, port, deadline).finally(() => deadline.dispose());
  sockets.push(socket);
  return socket;
}

/** Reads to the peer's end of file. Not with an iterator: that would close both directions. */
async function read(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk)).resume();
  await once(socket, "end");
  return Buffer.concat(chunks);
}

test("a half-close ends one direction and leaves the other open", async () => {
  listen((socket) => void read(socket).then((data) => socket.end(`got ${data}`)));
  const socket = await connect();
  socket.end("question");
  assert.equal(String(await read(socket)), "got question");
});

test("a paused reader blocks the writer, and nothing is lost", async () => {
  const accepted = new Promise<Socket>((resolve) => listen(resolve));
  const [writer, reader] = [await connect(), await accepted];
  reader.pause();
  const data = randomBytes(4 << 20);
  let sent = 0;
  let blocked = false;
  const step = 64 << 10;
  // Only a timeout shows that a writer is blocked. On a slow machine one that continues later counts as blocked, too.
  while (sent < data.length && !blocked) {
    const flowing = writer.write(data.subarray(sent, sent + step));
    sent += step;
    if (!flowing) blocked = await Promise.race([once(writer, "drain").then(() => false), sleep(500, true)]);
  }
  assert.ok(blocked, `all ${sent} bytes were accepted`);
  assert.ok(sent < 2 << 20, `${sent} bytes were accepted before the writer was blocked`);
  writer.end(data.subarray(sent));
  const received = await read(reader);
  const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
  assert.equal(sha256(received), sha256(data));
  reader.destroy();
});

test("connect fails at once if nothing listens, and at the deadline if nothing answers", async () => {
  await assert.rejects(connect(), {
    code: "Unavailable",
    message: /connect to vsock 1:5000: connection reset by peer/,
  });
  const start = performance.now();
  const deadline = Deadline.after(400, "connect");
  await assert.rejects(vsock.connect(77, PORT, deadline), { code: "DeadlineExceeded" });
  assert.ok(performance.now() - start < 5_000);
  deadline.dispose();
});

test("only one server can listen on a port", () => {
  listen(() => undefined);
  assert.throws(() => vsock.listen(ANY, PORT, () => undefined), {
    code: "Unavailable",
    message: /address already in use/,
  });
});

test("connectUntilUp reaches a peer that listens later; at the deadline its error contains the last failure", async () => {
  const short = Deadline.after(300, "the agent");
  await assert.rejects(vsock.connectUntilUp(LOCAL, PORT, short), {
    code: "DeadlineExceeded",
    message: /the agent: timed out after 300 ms; last attempt: .*connection reset by peer/,
  });
  const deadline = Deadline.after(20_000, "the agent");
  const connected = vsock.connectUntilUp(LOCAL, PORT, deadline);
  await sleep(100); // some attempts fail meanwhile
  listen((socket) => socket.end("here"));
  const socket = await connected;
  sockets.push(socket);
  assert.equal(String(await read(socket)), "here");
  deadline.dispose();
});

test("a peer that closes without reading ends or resets the connection", async () => {
  listen((socket) => socket.once("data", () => socket.destroy()));
  const socket = await connect();
  const ends = Promise.race([once(socket, "end"), once(socket, "error"), once(socket, "close")]);
  socket.resume().write("x".repeat(1 << 16));
  await Promise.race([ends, sleep(20_000).then(() => assert.fail("the connection did not end"))]);
  socket.on("error", () => undefined).destroy();
});

test("sixty concurrent streams leave no descriptor open", async () => {
  const count = () => readdirSync("/proc/self/fd").length;
  listen((socket) => void read(socket).then((data) => socket.end(data)));
  const before = count();
  await Promise.all(
    Array.from({ length: 60 }, async (_, index) => {
      const socket = await connect();
      socket.end(`stream ${index}`);
      assert.equal(String(await read(socket)), `stream ${index}`);
    }),
  );
  for (let attempts = 0; attempts < 100 && count() > before; attempts++) await sleep(20);
  assert.ok(count() <= before, `${count()} descriptors, ${before} before`);
});

for (const port of [AGENT_PORT.ttrpc, AGENT_PORT.stdio, AGENT_PORT.forward]) {
  test(`the agent of this guest closes a container's connection to port ${port}`, async () => {
    const socket = await connect(port).catch((error: unknown) => {
      // The close may overtake the answer to the connect.
      assert.match(String(error), /connection (reset by peer|timed out)/);
    });
    if (!socket) return;
    const ended = Promise.race([once(socket, "end"), once(socket, "error"), once(socket, "close")]);
    // Nothing is sent: a server that waits for a token or a call would keep the connection.
    await Promise.race([ended, sleep(20_000).then(() => assert.fail("the connection stayed open"))]).catch(
      (error) => {
        if (error?.code !== "ECONNRESET") throw error;
      },
    );
    socket.on("error", () => undefined).destroy();
  });
}

test("without /dev/vhost-vsock a context id cannot be reserved", () => {
  assert.throws(() => vsock.reserveCid(), {
    code: "Unavailable",
    message: /vhost-vsock: no such file or directory/,
  });
});
