/**
 * Tests of native/vsock.c and src/vsock/native.ts on a kernel that has vsock between a machine and itself
 * (vsock_loopback). test/e2e/vsock.e2e.test.ts runs them in a container: few hosts have that module.
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

/** All that comes until the peer's end. Not an iterator: that would close both directions. */
async function read(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk)).resume();
  await once(socket, "end");
  return Buffer.concat(chunks);
}

test("a half-close ends one direction and leaves the other", async () => {
  listen((socket) => void read(socket).then((data) => socket.end(`got ${data}`)));
  const socket = await connect();
  socket.end("question");
  assert.equal(String(await read(socket)), "got question");
});

test("a reader that waits holds the writer back, and nothing is lost", async () => {
  const accepted = new Promise<Socket>((resolve) => listen(resolve));
  const [writer, reader] = [await connect(), await accepted];
  reader.pause();
  const data = randomBytes(4 << 20);
  let sent = 0;
  let held = false;
  const step = 64 << 10;
  // That a writer waits is a matter of time alone; one that goes on late on a slow machine is only seen as held before.
  while (sent < data.length && !held) {
    const flowing = writer.write(data.subarray(sent, sent + step));
    sent += step;
    if (!flowing) held = await Promise.race([once(writer, "drain").then(() => false), sleep(500, true)]);
  }
  assert.ok(held, `all ${sent} bytes were taken`);
  assert.ok(sent < 2 << 20, `${sent} bytes were taken before the writer was held back`);
  writer.end(data.subarray(sent));
  const received = await read(reader);
  const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
  assert.equal(sha256(received), sha256(data));
  reader.destroy();
});

test("nobody listens: at once; nobody answers: when the time is over", async () => {
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

test("a port is taken once", () => {
  listen(() => undefined);
  assert.throws(() => vsock.listen(ANY, PORT, () => undefined), {
    code: "Unavailable",
    message: /address already in use/,
  });
});

test("a peer that comes later is reached when it is there; the deadline tells the last failure", async () => {
  const short = Deadline.after(300, "the agent");
  await assert.rejects(vsock.connectUntilUp(LOCAL, PORT, short), {
    code: "DeadlineExceeded",
    message: /the agent: timed out after 300 ms; last attempt: .*connection reset by peer/,
  });
  const deadline = Deadline.after(20_000, "the agent");
  const connected = vsock.connectUntilUp(LOCAL, PORT, deadline);
  await sleep(100); // some tries fail; which, nothing tells
  listen((socket) => socket.end("here"));
  const socket = await connected;
  sockets.push(socket);
  assert.equal(String(await read(socket)), "here");
  deadline.dispose();
});

test("a peer that goes away without reading is told as a reset or an end, not as silence", async () => {
  listen((socket) => socket.once("data", () => socket.destroy()));
  const socket = await connect();
  const ends = Promise.race([once(socket, "end"), once(socket, "error"), once(socket, "close")]);
  socket.resume().write("x".repeat(1 << 16));
  await Promise.race([ends, sleep(20_000).then(() => assert.fail("nothing was told"))]);
  socket.on("error", () => undefined).destroy();
});

test("sixty streams at once, and no descriptor stays", async () => {
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
  for (let tries = 0; tries < 100 && count() > before; tries++) await sleep(20);
  assert.ok(count() <= before, `${count()} descriptors, ${before} before`);
});

for (const port of [AGENT_PORT.ttrpc, AGENT_PORT.stdio, AGENT_PORT.forward]) {
  test(`the agent of this guest closes a container's connection to port ${port}`, async () => {
    const socket = await connect(port).catch((error: unknown) => {
      // The end may overtake the answer to the connect.
      assert.match(String(error), /connection (reset by peer|timed out)/);
    });
    if (!socket) return;
    const ended = Promise.race([once(socket, "end"), once(socket, "error"), once(socket, "close")]);
    // Nothing is sent: who waits for a token or a call keeps the connection.
    await Promise.race([ended, sleep(20_000).then(() => assert.fail("it was kept"))]).catch((error) => {
      if (error?.code !== "ECONNRESET") throw error;
    });
    socket.on("error", () => undefined).destroy();
  });
}

test("without /dev/vhost-vsock there is no context id to reserve", () => {
  assert.throws(() => vsock.reserveCid(), {
    code: "Unavailable",
    message: /vhost-vsock: no such file or directory/,
  });
});
