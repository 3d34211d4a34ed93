import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Deadline } from "../../src/core/deadline.ts";
import { HullError } from "../../src/core/errors.ts";
import { TaskExit } from "../../src/proto/generated/containerd/events/task.ts";
import {
  EventsDefinition,
  ForwardRequest,
} from "../../src/proto/generated/containerd/services/events/ttrpc/v1/events.ts";
import { Request } from "../../src/proto/generated/ttrpc/ttrpc.ts";
import { ClientConnection, createClient } from "../../src/ttrpc/client.ts";
import { MAX_PAYLOAD } from "../../src/ttrpc/frame.ts";
import { socketTransport } from "../../src/ttrpc/node/socket-transport.ts";
import { connectUnix } from "../../src/ttrpc/node/unix-socket.ts";
import { Server } from "../../src/ttrpc/server.ts";
import type { Transport } from "../../src/ttrpc/transport.ts";
import { messageOf } from "../testkit/message.ts";
import { EventsContainerd } from "../testkit/ttrpc/events-containerd.ts";
import { bytes } from "../testkit/ttrpc/hex.ts";
import { transportPair } from "../testkit/ttrpc/memory-transport.ts";
import { RawPeer } from "../testkit/ttrpc/raw-peer.ts";

// Our ttrpc against Go's, in Debian's containerd.

const limit = Deadline.after(60_000, "test");
let containerd: EventsContainerd;
before(async () => {
  containerd = await EventsContainerd.start(limit);
});
after(async () => {
  limit.dispose();
  await containerd.stop();
});

const dial = async () => socketTransport(await connectUnix(containerd.ttrpcAddress, limit));

const exitedAt = { seconds: 1_700_000_000n, nanos: 5 };

function exitEvent(id: string): ForwardRequest {
  const exit = messageOf(TaskExit, { containerId: "pod", id, pid: 4_000_000_000, exitStatus: 137, exitedAt });
  return messageOf(ForwardRequest, {
    envelope: {
      timestamp: exitedAt,
      namespace: "hull-test",
      topic: "/tasks/exit",
      event: { typeUrl: "containerd.events.TaskExit", value: TaskExit.encode(exit).finish() },
    },
  });
}

test("containerd accepts an event and forwards it", async () => {
  const connection = new ClientConnection(await dial());
  const events = createClient(connection, EventsDefinition);
  const seen = new Promise<string>((resolve) => containerd.events(resolve));
  // `ctr events` does not report when it has subscribed: publish until it prints one.
  let line: string | undefined;
  void seen.then((first) => {
    line = first;
  });
  for (let i = 0; line === undefined; i++) {
    await events.forward(exitEvent(`exec-${i}`), { deadline: limit });
    await sleep(50);
  }
  assert.match(line, /hull-test \/tasks\/exit /);
  const event = JSON.parse(line.slice(line.indexOf("{")));
  assert.deepEqual([event.container_id, event.pid, event.exit_status], ["pod", 4_000_000_000, 137]);
  assert.match(event.id, /^exec-\d+$/);
  assert.equal(event.exited_at, "2023-11-14T22:13:20.000000005Z");
  connection.close();
});

test("containerd answers a thousand concurrent calls", async () => {
  const connection = new ClientConnection(await dial());
  const events = createClient(connection, EventsDefinition);
  await Promise.all(Array.from({ length: 1000 }, (_, i) => events.forward(exitEvent(`${i}`))));
  connection.close();
});

test("errors of containerd arrive with their class", async () => {
  const connection = new ClientConnection(await dial());
  const events = createClient(connection, EventsDefinition);
  const code = (expected: string) => (error: unknown) =>
    error instanceof HullError && error.code === expected;
  const withoutTime = exitEvent("x");
  if (withoutTime.envelope) withoutTime.envelope.timestamp = undefined;
  await assert.rejects(events.forward(withoutTime), code("InvalidArgument"));
  const unknownService = createClient(connection, { ...EventsDefinition, fullName: "hull.test.Nothing" });
  await assert.rejects(unknownService.forward(exitEvent("x")), code("Unimplemented"));
  connection.close();
});

test("containerd accepts requests with a timeout and metadata", async () => {
  const connection = new ClientConnection(await dial());
  const events = createClient(connection, EventsDefinition);
  await events.forward(exitEvent("x"), {
    deadline: limit,
    metadata: new Map([["containerd-namespace-ttrpc", ["a", "b"]]]),
  });
  connection.close();
});

/**
 * Sends valid and invalid frames; returns how many answers they get. Decreasing ids are not among them: ttrpc
 * 1.1 (containerd 1.6) accepts those.
 */
function provoke(peer: RawPeer): number {
  const request = (service: string, method: string, payload: Uint8Array) =>
    Request.encode(messageOf(Request, { service, method, payload })).finish();
  const forward = (payload: Uint8Array) => request(EventsDefinition.fullName, "Forward", payload);
  const good = ForwardRequest.encode(exitEvent("raw")).finish();
  peer.frame(1, 1, 0, forward(good));
  peer.frame(2, 1, 0, forward(good)); // even id
  peer.frame(7, 9, 0, bytes("0102")); // unknown type: no answer
  peer.frame(9, 1, 0, request("no.Service", "Forward", good));
  peer.frame(11, 1, 0, request(EventsDefinition.fullName, "NoMethod", good));
  peer.frame(13, 1, 0, bytes("0aff")); // not a request
  peer.frame(15, 1, 0, forward(bytes("0aff"))); // not a message
  peer.frame(17, 1, 0, new Uint8Array(MAX_PAYLOAD + 1));
  peer.frame(19, 1, 0, forward(good));
  return 8;
}

test("our server answers good and bad frames with the same codes as containerd's", async () => {
  const codes = async (transport: Transport) => {
    const peer = new RawPeer(transport);
    const answers = await peer.expect(provoke(peer), limit);
    transport.close();
    return answers.map((answer) => answer.split(" ").slice(0, 3).join(" "));
  };
  const server = new Server();
  server.register(EventsDefinition, { forward: () => ({}) });
  const [near, far] = transportPair();
  server.serve(far);
  const theirs = await codes(await dial());
  assert.deepEqual(await codes(near), theirs);
  assert.deepEqual(theirs, [
    "1 response 0",
    "11 response 12",
    "13 response 3",
    "15 response 13",
    "17 response 8",
    "19 response 0",
    "2 response 3",
    "9 response 12",
  ]);
});

test("calls fail with Unavailable when containerd is killed", async () => {
  const connection = new ClientConnection(await dial(), { peer: "containerd" });
  const events = createClient(connection, EventsDefinition);
  containerd.kill();
  await connection.closed;
  await assert.rejects(events.forward(exitEvent("x")), /connection to containerd is lost/);
});
