import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { GrpcSocket } from "../../../test/testkit/grpc-client.ts";
import { Deadline } from "../../core/deadline.ts";
import { deferred } from "../../core/deferred.ts";
import { notFound } from "../../core/errors.ts";
import { PendingCalls } from "../../core/pending-calls.ts";
import { TaskDefinition } from "../../proto/generated/containerd/task/v2/task.ts";
import { ClientConnection, createClient } from "../../ttrpc/client.ts";
import { socketTransport } from "../../ttrpc/node/socket-transport.ts";
import { connectUnix } from "../../ttrpc/node/unix-socket.ts";
import type { CallContext } from "../../ttrpc/server-route.ts";
import { serveGrpc } from "./grpc.ts";
import { type Serving, served, serveTtrpc, tracked } from "./serving.ts";

/** The calls of the tests, over either protocol. */
interface Caller {
  connect(id: string, timeoutMs?: number): Promise<{ shimPid: number; version: string }>;
  state(id: string): Promise<unknown>;
  checkpoint(): Promise<unknown>;
  close(): void;
}

const PROTOCOLS = {
  ttrpc: {
    serve: serveTtrpc,
    call: async (path: string, service: string): Promise<Caller> => {
      const socket = await connectUnix(path, Deadline.none());
      const connection = new ClientConnection(socketTransport(socket));
      const client = createClient(connection, { ...TaskDefinition, fullName: service });
      return {
        connect: (id, ms) => client.connect({ id }, ms ? { deadline: Deadline.after(ms) } : {}),
        state: (id) => client.state({ id, execId: "" }),
        checkpoint: () => client.checkpoint({ id: "c", path: "", options: undefined }),
        close: () => connection.close(),
      };
    },
  },
  grpc: {
    serve: serveGrpc,
    call: async (path: string, service: string): Promise<Caller> => {
      const socket = new GrpcSocket(path);
      const client = socket.client({ ...TaskDefinition, fullName: service });
      return {
        connect: (id, ms) => client.connect({ id }, ms ? { timeoutMs: ms } : {}),
        state: (id) => client.state({ id, execId: "" }),
        checkpoint: () => client.checkpoint({ id: "c", path: "", options: undefined }),
        close: () => socket.close(),
      };
    },
  },
};

for (const [protocol, { serve, call }] of Object.entries(PROTOCOLS)) {
  describe(`serving ${protocol}`, () => {
    const reports: string[] = [];
    const calls = new PendingCalls();
    const held = deferred<{ shimPid: number; taskPid: number; version: string }>();
    let seen: CallContext | undefined;
    let directory: string;
    let path: string;
    let serving: Serving;

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), "hull-serve-"));
      path = join(directory, "s.sock");
      const service = served(
        TaskDefinition,
        {
          connect: async ({ id }, context) => {
            seen = context;
            if (id === "bug") throw new TypeError("a bug");
            if (id === "slow") return await held.promise;
            return { shimPid: 7, taskPid: 8, version: id };
          },
          state: ({ id }) => {
            throw notFound(`container ${id} does not exist`);
          },
        },
        ["containerd.task.v2.Task", "containerd.task.v3.Task"],
      );
      serving = await serve([tracked(service, calls)], { path }, (where) => reports.push(where));
    });
    after(() => rm(directory, { recursive: true, force: true }));

    it("serves every name of a service, with the client's deadline", async () => {
      for (const name of ["containerd.task.v2.Task", "containerd.task.v3.Task"]) {
        const caller = await call(path, name);
        const answer = await caller.connect("c1", 5_000);
        assert.equal(answer.shimPid, 7);
        assert.equal(answer.version, "c1");
        assert.equal(seen?.service, name);
        const left = seen?.deadline.remainingMs ?? 0;
        assert.ok(left === 0 || (left > 0 && left <= 5_000), `${left}`); // 0: disposed with the call
        caller.close();
      }
    });

    it("returns errors with their status, and reports bugs", async () => {
      const caller = await call(path, "containerd.task.v2.Task");
      const refused =
        (status: number, text: RegExp) => (error: { status?: number; code?: number; message: string }) => {
          assert.equal(error.status ?? error.code, status);
          assert.match(error.message, text);
          return true;
        };
      await assert.rejects(caller.state("c9"), refused(5, /container c9 does not exist/));
      await assert.rejects(caller.checkpoint(), refused(12, /./));
      assert.deepEqual(reports, []);
      await assert.rejects(caller.connect("bug"), refused(2, /a bug/));
      assert.equal(reports.length, 1);
      caller.close();
    });

    it("completes pending calls when it shuts down", async () => {
      const caller = await call(path, "containerd.task.v2.Task");
      const slow = caller.connect("slow");
      await caller.connect("c2");
      assert.deepEqual(
        calls.describe().map(({ name }) => name),
        ["Connect slow"],
      );
      serving.close();
      const down = serving.shutdown(5_000);
      held.resolve({ shimPid: 1, taskPid: 2, version: "late" });
      assert.equal((await slow).version, "late");
      caller.close();
      await down;
    });
  });
}
