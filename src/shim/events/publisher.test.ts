import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import type { Server as NetServer, Socket } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { within } from "../../../test/testkit/within.ts";
import { Deadline } from "../../core/deadline.ts";
import { type HullError, invalidArgument, notFound, resourceExhausted } from "../../core/errors.ts";
import { pollUntil } from "../../core/poll-until.ts";
import { TaskExit } from "../../proto/generated/containerd/events/task.ts";
import { EventsDefinition } from "../../proto/generated/containerd/services/events/ttrpc/v1/events.ts";
import { Status } from "../../proto/generated/google/rpc/status.ts";
import { socketTransport } from "../../ttrpc/node/socket-transport.ts";
import { Server } from "../../ttrpc/server.ts";
import { EventPublisher } from "./publisher.ts";
import { fromHealth, fromPodEvent } from "./task-events.ts";

const exit = (status: number) =>
  fromPodEvent({
    kind: "exit",
    containerId: "c1",
    execId: "",
    pid: 42,
    exit: { status, at: new Date(1_700_000_000_123) },
  });

/** A containerd that can be stopped and restarted. It refuses exit statuses with the error in `refused`. */
class FakeContainerd {
  readonly received: { status: number; namespace: string; topic: string }[] = [];
  readonly refused = new Map<number, HullError>();
  readonly refusals: number[] = [];
  /** How many connections it still answers with bytes that are not ttrpc. */
  invalidResponses = 0;
  /** Closes every connection at once, and counts them. */
  restarting = false;
  rejectedConnections = 0;
  #net: NetServer | undefined;
  readonly #sockets = new Set<Socket>();

  constructor(readonly path: string) {}

  async up(): Promise<void> {
    const server = new Server();
    server.register(EventsDefinition, {
      forward: async ({ envelope }) => {
        const { exitStatus } = TaskExit.decode(envelope?.event?.value ?? new Uint8Array());
        const refusal = this.refused.get(exitStatus);
        if (refusal) {
          this.refusals.push(exitStatus);
          throw refusal;
        }
        assert.ok((envelope?.timestamp?.seconds ?? 0n) > 0n);
        this.received.push({
          status: exitStatus,
          namespace: envelope?.namespace ?? "",
          topic: envelope?.topic ?? "",
        });
        return {};
      },
    });
    const net = createServer((socket) => {
      this.#sockets.add(socket);
      if (this.restarting) {
        this.rejectedConnections++;
        socket.destroy();
        return;
      }
      if (this.invalidResponses-- > 0) {
        socket
          .on("error", () => undefined)
          .once("data", () => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
        return;
      }
      server.serve(socketTransport(socket));
    });
    this.#net = net;
    await new Promise<void>((resolve) => net.listen(this.path, resolve));
  }

  down(): void {
    this.#net?.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }
}

function setUp(t: TestContext, options: Partial<ConstructorParameters<typeof EventPublisher>[0]> = {}) {
  const directory = mkdtempSync(join(tmpdir(), "hull-events-"));
  const containerd = new FakeContainerd(join(directory, "s"));
  const logs: string[] = [];
  const publisher = new EventPublisher({
    address: containerd.path,
    namespace: "ns",
    log: (level, message) => void logs.push(`${level} ${message}`),
    backoff: { first: 5, longest: 20 },
    ...options,
  });
  const flush = () => Deadline.within(30_000, "flush", (deadline) => publisher.flush(deadline));
  t.after(() => {
    publisher.close();
    containerd.down();
    rmSync(directory, { recursive: true, force: true });
  });
  return { containerd, publisher, logs, flush };
}

const statuses = (containerd: FakeContainerd) => containerd.received.map((event) => event.status);

test("events arrive in order, with topic and namespace", async (t) => {
  const { containerd, publisher, flush } = setUp(t);
  await containerd.up();
  for (let i = 1; i <= 100; i++) publisher.publish(exit(i));
  await flush();
  assert.deepEqual(
    statuses(containerd),
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
  assert.deepEqual(containerd.received[0], { status: 1, namespace: "ns", topic: "/tasks/exit" });
});

test("events wait while containerd is down, from the start and after a restart", async (t) => {
  const { containerd, publisher, logs, flush } = setUp(t);
  publisher.publish(exit(1));
  publisher.publish(exit(2));
  await pollUntil(() => logs.length > 0, within(20_000));
  assert.equal(publisher.pending, 2);
  await containerd.up();
  await flush();
  assert.match(logs[0] ?? "", /^warn events are waiting for containerd: .*ENOENT/);
  assert.deepEqual(logs.splice(1), ["warn containerd accepts events again: 2 waited, 0 lost so far"]);
  containerd.down();
  publisher.publish(exit(3));
  containerd.restarting = true;
  await containerd.up();
  await pollUntil(() => containerd.rejectedConnections > 10, within(20_000));
  assert.match(logs[1] ?? "", /^warn events are waiting for containerd: /);
  containerd.restarting = false;
  publisher.publish(exit(4));
  await flush();
  assert.deepEqual(statuses(containerd), [1, 2, 3, 4]);
  assert.equal(publisher.lost, 0);
});

test("if too many events wait, the oldest are kept and the dropped ones counted and logged", async (t) => {
  const { containerd, publisher, logs, flush } = setUp(t, { limit: 3 });
  for (let i = 1; i <= 5; i++) publisher.publish(exit(i));
  assert.equal(publisher.lost, 2);
  assert.equal(logs.filter((line) => line.startsWith("warn event /tasks/exit is lost")).length, 2);
  await containerd.up();
  await flush();
  assert.deepEqual(statuses(containerd), [1, 2, 3]);
});

test("an event that containerd refuses is dropped after some attempts", async (t) => {
  const { containerd, publisher, flush } = setUp(t);
  containerd.refused.set(2, invalidArgument("not this one"));
  await containerd.up();
  for (let i = 1; i <= 3; i++) publisher.publish(exit(i));
  await flush();
  assert.deepEqual(statuses(containerd), [1, 3]);
  assert.equal(publisher.lost, 1);
});

test("NotFound from containerd is a refusal, ResourceExhausted is retried without a limit", async (t) => {
  const { containerd, publisher, flush } = setUp(t);
  containerd.refused.set(1, notFound("no such service"));
  containerd.refused.set(2, resourceExhausted("later"));
  await containerd.up();
  for (let i = 1; i <= 3; i++) publisher.publish(exit(i));
  await pollUntil(() => containerd.refusals.filter((status) => status === 2).length > 10, within(10_000));
  assert.deepEqual([publisher.lost, publisher.pending], [1, 2]);
  containerd.refused.clear();
  await flush();
  assert.deepEqual(statuses(containerd), [2, 3]);
});

test("an event to which containerd sends an invalid response is dropped after some attempts", async (t) => {
  const { containerd, publisher, logs, flush } = setUp(t);
  containerd.invalidResponses = 6;
  await containerd.up();
  for (let i = 1; i <= 3; i++) publisher.publish(exit(i));
  await flush();
  assert.deepEqual([statuses(containerd), publisher.lost], [[2, 3], 1]);
  assert.match(logs.join("\n"), /event \/tasks\/exit is lost \(1 so far\): .*more than ttrpc allows/);
});

test("a finding of the watchdog is a google.rpc.Status under hull's own topic", () => {
  const text = "the guest agent does not answer";
  const unavailable = fromHealth("p1", { unresponsive: [{ component: "guest", text }], forMs: 61_000 });
  assert.deepEqual([unavailable.topic, unavailable.event.typeUrl], ["/hull/health", "google.rpc.Status"]);
  const message = `pod p1: ${text} (for 61000 ms)`;
  assert.deepEqual(Status.decode(unavailable.event.value), { code: 14, message, details: [] });
  assert.equal(Status.decode(fromHealth("p1", { unresponsive: [], forMs: 5 }).event.value).code, 0);
});

test("flush ends with its deadline", async (t) => {
  const { publisher } = setUp(t);
  publisher.publish(exit(1));
  await publisher.flush(Deadline.after(30));
  assert.equal(publisher.pending, 1);
});

test("without an address events are only logged", async (t) => {
  const { publisher, logs } = setUp(t, { address: "" });
  publisher.publish(exit(1));
  assert.equal(publisher.pending, 0);
  assert.deepEqual(logs, ["debug event /tasks/exit"]);
});
