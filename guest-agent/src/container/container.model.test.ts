import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { SigtermEscalation } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import {
  connectAgent,
  NO_STDIO,
  newToken,
  processOf,
  SANDBOX,
  specOf,
} from "../../../test/testkit/guest-agent/agent-client.ts";
import { FakeGuest } from "../../../test/testkit/guest-agent/fake-guest.ts";

type State = "none" | "created" | "running" | "paused" | "stopped";
const OPERATIONS = ["create", "start", "pause", "resume", "kill", "delete", "exec", "end", "stats"] as const;
type Operation = (typeof OPERATIONS)[number];

/** The state that an operation leads to from each state; missing ones are refused. */
const MODEL: Record<Operation, Partial<Record<State, State>>> = {
  create: { none: "created" },
  start: { created: "running" },
  pause: { running: "paused" },
  resume: { paused: "running" },
  kill: { created: "stopped", running: "stopped", paused: "stopped" },
  delete: { created: "none", stopped: "none" },
  exec: { running: "running" },
  // The program exits by itself: no client asks for it, so it is never refused.
  end: { none: "none", created: "created", running: "stopped", paused: "paused", stopped: "stopped" },
  stats: { created: "created", running: "running", paused: "paused", stopped: "stopped" },
};

describe("container: random sequences", () => {
  it("agree with the model at every step and leave nothing behind", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...OPERATIONS), { maxLength: 25 }), async (operations) => {
        const guest = new FakeGuest();
        guest.scripts.set("main", () => undefined);
        guest.scripts.set("side", (process) => process.exit(4));
        const { agent, close } = connectAgent(guest);
        await agent.startSandbox(SANDBOX);
        const fds = guest.fake.openFds;
        const ref = { containerId: "c", execId: "" };
        let execs = 0;
        const kill = () =>
          agent
            .signalProcess({
              ...ref,
              signal: 9,
              all: false,
              escalation: SigtermEscalation.ESCALATION_NEVER,
              escalationMs: 0,
            })
            .then(() => agent.waitProcess(ref));
        const perform: Record<Operation, () => Promise<unknown>> = {
          create: () =>
            agent.createContainer({
              containerId: "c",
              spec: specOf("main"),
              stdio: {
                ...NO_STDIO,
                stdinToken: newToken(),
                stdoutToken: newToken(),
                stderrToken: newToken(),
              },
              blockDevices: [],
              pciDevices: [],
              ownDevices: [],
              moduleDirectory: "",
              rootDisk: undefined,
            }),
          start: () => agent.startProcess(ref),
          pause: () => agent.pauseContainer(ref),
          resume: () => agent.resumeContainer(ref),
          kill,
          delete: () => agent.deleteProcess(ref),
          exec: async () => {
            const exec = { containerId: "c", execId: `e${execs++}` };
            await agent.createExec({
              ...exec,
              process: processOf("side"),
              stdio: { ...NO_STDIO, stdoutToken: newToken() },
            });
            await agent.startProcess(exec);
            assert.equal((await agent.waitProcess(exec)).exitStatus, 4);
          },
          end: async () => {
            if (state !== "running") return;
            guest.process("main").exit(0);
            await agent.waitProcess(ref);
          },
          stats: () => agent.statsContainer(ref),
        };
        let state: State = "none";
        try {
          for (const operation of operations) {
            const next: State | undefined = MODEL[operation][state];
            const result = await perform[operation]().then(
              () => "done",
              (error: Error) => error.message,
            );
            assert.equal(result === "done", next !== undefined, `${operation} in ${state}: ${result}`);
            state = next ?? state;
          }
          if (state === "running" || state === "paused") await kill();
          if (state !== "none") await agent.deleteProcess(ref);
          assert.equal(guest.fake.openFds, fds);
          assert.equal(guest.fake.timerCount, 0);
          assert.deepEqual(guest.fake.relays, []);
          assert.deepEqual(guest.fake.tree.readdir("/sys/fs/cgroup/hull"), []);
          assert.deepEqual(guest.fake.tree.readdir("/run/hull/containers"), []);
        } finally {
          close();
        }
      }),
      { numRuns: 60 },
    );
  });
});
