import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { EchoDefinition } from "../../../test/testkit/ttrpc/echo-service.ts";
import { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";
import { ClientConnection, createClient } from "../client.ts";
import { Server } from "../server.ts";
import { socketTransport } from "./socket-transport.ts";
import { connectUnix, listen } from "./unix-socket.ts";

const directory = mkdtempSync(join(tmpdir(), "hull-ttrpc-"));
after(() => {
  limit.dispose();
  rmSync(directory, { recursive: true });
});
const limit = Deadline.after(10_000, "test");

test("small and large calls over a Unix socket, then an orderly shutdown", async () => {
  const path = join(directory, "echo.sock");
  const server = new Server();
  server.register(EchoDefinition, { echo: (request) => request });
  const listener = await listen(server, { path });
  const connection = new ClientConnection(socketTransport(await connectUnix(path, limit)));
  const client = createClient(connection, EchoDefinition);
  const large = { key: "k".repeat(4_000_000), value: "" };
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => client.echo(i % 5 ? { key: `${i}`, value: "" } : large)),
  );
  assert.equal(answers[0]?.key.length, large.key.length);
  assert.equal(answers[19]?.key, "19");
  listener.close();
  await server.shutdown(1000);
  assert.equal(await connection.closed, undefined);
  await assert.rejects(
    client.echo(large),
    (error) => error instanceof HullError && error.code === "Unavailable",
  );
});

test("pending calls fail when the server dies", async () => {
  const path = join(directory, "dies.sock");
  const listener = createServer((socket) => socket.once("data", () => socket.destroy())).listen(path);
  const connection = new ClientConnection(socketTransport(await connectUnix(path, limit)), {
    peer: "the test server",
  });
  const client = createClient(connection, EchoDefinition);
  await assert.rejects(client.echo({ key: "", value: "" }), /connection to the test server is lost/);
  listener.close();
});

test("a socket that is already closed is a lost connection", async () => {
  const path = join(directory, "closed.sock");
  const listener = createServer((socket) => socket.destroy()).listen(path);
  const socket = await connectUnix(path, limit);
  socket.resume();
  await new Promise((resolve) => socket.once("close", resolve));
  const connection = new ClientConnection(socketTransport(socket));
  await connection.closed;
  listener.close();
});

test("the error of a failed connect names the path, and a connect keeps to its deadline", async () => {
  const path = join(directory, "nothing.sock");
  const error = await connectUnix(path, limit).catch((thrown) => thrown);
  assert.ok(
    error instanceof HullError && error.code === "Unavailable" && error.message.includes(path),
    String(error),
  );
  const over = limit.shorter(1000);
  over.cancel("stopping");
  await assert.rejects(connectUnix(path, over), /stopping/);
  await assert.rejects(
    listen(new Server(), { path: join(directory, "no/such/dir.sock") }),
    /listen on .*dir.sock/,
  );
});
