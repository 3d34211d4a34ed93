import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { dialUntilReady } from "../../test/testkit/dial-until-ready.ts";
import { within } from "../../test/testkit/within.ts";
import { pollUntil } from "../core/poll-until.ts";
import { checkSocketPath } from "../host/socket-path.ts";
import { HybridVsock } from "./hybrid.ts";

let directory: string;
let path: string;
let server: Server;
let sockets: Socket[];
/** What the fake daemon does with the n-th connection (from 0) after its CONNECT line. */
let behave: (socket: Socket, index: number) => void;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-vsock-"));
  path = join(directory, "vs.sock");
  sockets = [];
  server = createServer({ allowHalfOpen: true }, (socket) => {
    const index = sockets.push(socket) - 1;
    socket.on("error", () => undefined);
    socket.once("data", (line) => {
      assert.equal(line.toString(), "CONNECT 1024\n");
      behave(socket, index);
    });
  });
  server.listen(path);
  await once(server, "listening");
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  server.close();
  await rm(directory, { recursive: true });
});

const PACE = { firstMs: 20, factor: 1, longestMs: 20 };

test("data that the guest sends right after the answer is not lost", async () => {
  behave = (socket) => socket.write("OK 1024\nhello");
  const socket = await new HybridVsock(path).connect(1024, within(30_000));
  const [data] = (await once(socket, "data")) as [Buffer];
  assert.equal(data.toString(), "hello");
  socket.destroy();
});

test("an answer may arrive in pieces", async () => {
  behave = (socket) => {
    const pieces = ["O", "K ", "10", "24", "\n"];
    const next = () => socket.write(pieces.shift() ?? "", () => pieces.length > 0 && setImmediate(next));
    next();
  };
  (await new HybridVsock(path).connect(1024, within(30_000))).destroy();
});

for (const [name, answer] of [
  ["another word", "NO 1\n"],
  ["no number", "OK x\n"],
  ["no line end", "x".repeat(1000)],
] as const) {
  test(`a wrong answer is refused: ${name}`, async () => {
    behave = (socket) => socket.write(answer);
    await assert.rejects(new HybridVsock(path).connect(1024, within(30_000)), {
      code: "Unavailable",
      message: /not an answer to CONNECT/,
    });
  });
}

test("a close instead of an answer is Unavailable, and so is a missing socket", async () => {
  behave = (socket) => socket.destroy();
  await assert.rejects(new HybridVsock(path).connect(1024, within(30_000)), { code: "Unavailable" });
  await assert.rejects(new HybridVsock(join(directory, "none")).connect(1024, within(30_000)), {
    code: "Unavailable",
  });
});

test("an abandoned dial is not closed before it is answered", async () => {
  behave = () => undefined;
  await assert.rejects(new HybridVsock(path).connect(1024, within(50)), { code: "DeadlineExceeded" });
  const socket = sockets[0] as Socket;
  socket.resume();
  let closed = false;
  socket.on("end", () => {
    closed = true;
  });
  // Data that was sent before a second dial arrives before that ends.
  behave = (second) => second.write("OK 1\n");
  (await new HybridVsock(path).connect(1024, within(20_000))).destroy();
  assert.equal(closed, false);
  socket.write("OK 1\n");
  await once(socket, "end");
});

test("dials to an unresponsive guest are bounded; the others continue when it answers", async () => {
  behave = () => undefined;
  const guest = new HybridVsock(path);
  const arrived = async (count: number) => {
    const limit = within(20_000, `${count} dials`);
    await pollUntil(() => sockets.length >= count, limit);
    limit.dispose();
  };
  const given = Array.from({ length: 128 }, () => {
    const deadline = within(20_000);
    return { deadline, result: guest.connect(1024, deadline) };
  });
  await arrived(128);
  for (const { deadline } of given) deadline.cancel();
  for (const { result } of given) await assert.rejects(result, { code: "Canceled" });
  await assert.rejects(guest.connect(1024, within(50)), { code: "DeadlineExceeded" });
  assert.equal(sockets.length, 128, "a dial too many");
  const waiting = guest.connect(1024, within(20_000));
  behave = (socket) => socket.write("OK 1024\n");
  sockets[7]?.write("OK 1024\n");
  (await waiting).destroy();
  assert.equal(sockets.length, 129);
});

test("dialing is repeated at a steady pace until an attempt is answered", async () => {
  behave = (socket, index) => {
    if (index < 2) socket.destroy();
    else if (index === 4) socket.write("OK 1\n");
  };
  const before = performance.now();
  const socket = await dialUntilReady(path, 1024, within(30_000), PACE);
  assert.ok(performance.now() - before >= 75, "tries were not apart");
  assert.equal(sockets.length, 5);
  // The unanswered earlier attempts are closed now, the successful one is not.
  await Promise.all([2, 3].map((index) => once((sockets[index] as Socket).resume(), "end")));
  assert.equal(socket.destroyed, false);
  socket.destroy();
});

test("an earlier attempt that is answered late succeeds", async () => {
  behave = (_socket, index) => {
    if (index === 2) sockets[0]?.write("OK 1\nfirst");
  };
  const socket = await dialUntilReady(path, 1024, within(30_000), PACE);
  const [data] = (await once(socket, "data")) as [Buffer];
  assert.equal(data.toString(), "first");
  socket.destroy();
});

test("dialing ends with the deadline and reports the last failure", async () => {
  behave = (socket) => socket.destroy();
  await assert.rejects(dialUntilReady(path, 1024, within(100, "boot"), PACE), {
    code: "DeadlineExceeded",
    message: /boot: timed out after 100 ms; last attempt: .*closed before the guest answered/,
  });
});

test("a socket path that is too long is InvalidArgument", () => {
  assert.equal(checkSocketPath(`/${"x".repeat(106)}`).length, 107);
  assert.throws(() => checkSocketPath(`/${"é".repeat(54)}`), {
    code: "InvalidArgument",
    message: /109 bytes/,
  });
});
