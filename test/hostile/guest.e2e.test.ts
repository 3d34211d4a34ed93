/**
 * Compromised guests in real VMs: the agent's code with one thing changed (`agent/`). Whatever a guest does,
 * its shim stays small, answers State and can be killed, and other pods are not affected.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { chosenLines } from "../e2e/fixture.ts";
import type { Streams, Task } from "../testkit/task.ts";
import { ended, failure, HostilePods, kill, mayFail } from "./hostile-pods.ts";

/** Exit status of pods that a guest's behaviour kills, or that are killed because of it. */
const KILLED = 137;

/** The error of a call after its deadline, from the shim or a client in between. */
const TIMED_OUT = /within|deadline|cancel/i;

interface Case {
  readonly behaviour: string;
  /** The claim of the test. */
  readonly shows: string;
  readonly streams?: Streams;
  /** Runs after the start; by default the container is only watched. */
  readonly act?: (task: Task, pods: HostilePods) => Promise<void>;
  /** Whether the pod exits without being killed. */
  readonly ends?: boolean;
  readonly status?: number;
  /** Whether the start fails. */
  readonly startFails?: RegExp;
  /** What the log must contain. */
  readonly logs?: RegExp;
}

const CASES: readonly Case[] = [
  { behaviour: "silent:startProcess", shows: "a start that is not answered", startFails: TIMED_OUT },
  { behaviour: "silent:waitProcess", shows: "an exit that is not reported" },
  { behaviour: "silent:signalProcess", shows: "a signal that is not answered", logs: /cannot be killed/ },
  { behaviour: "silent", shows: "no answer to any call", startFails: TIMED_OUT, logs: /cannot be killed/ },
  { behaviour: "kills-nothing", shows: "a kill that is only reported as done", logs: /after SIGKILL/ },
  { behaviour: "refuses:NotFound", shows: "NotFound for every call", startFails: /no no/ },
  {
    behaviour: "refuses:Unimplemented",
    shows: "Unimplemented for every call",
    startFails: /reported as Unimplemented/,
  },
  {
    behaviour: "refuses-call:shutdown",
    shows: "a VM that does not shut down",
    logs: /did not shut down by itself/,
  },
  { behaviour: "ends-at-once:0", shows: "exit status 0 of a process that still runs", ends: true, status: 0 },
  { behaviour: "ends-at-once:999", shows: "an impossible exit status", ends: true, logs: /exit status 999/ },
  {
    behaviour: "long-stats:2000000",
    shows: "statistics of 2 MB",
    act: failingStats,
    ends: true,
    logs: /statistics of p\d+ of \d+ characters/,
  },
  {
    behaviour: "sends-garbage",
    shows: "garbage instead of frames",
    ends: true,
    logs: /violated the protocol|more than ttrpc allows/,
  },
  {
    behaviour: "announces-2-gib",
    shows: "a frame of 2 GiB",
    ends: true,
    logs: /a frame of 2147483647 bytes/,
  },
  {
    behaviour: "answers-unopened-stream",
    shows: "an answer on a stream that was never opened",
    ends: true,
    logs: /violated the protocol/,
  },
  {
    behaviour: "rubbish-answers",
    shows: "answers that cannot be decoded",
    act: failingStats,
    ends: true,
    logs: /violated the protocol/,
  },
  { behaviour: "half-a-frame", shows: "a frame that never ends" },
  { behaviour: "answers-again:4194304", shows: "repeated answers to a finished call" },
  { behaviour: "reports-ooms:1000", shows: "endless OOM events", act: oomReported },
  { behaviour: "reports-ooms:4000000", shows: "endless long OOM events" },
  { behaviour: "fills-console", shows: "a console full of escape sequences" },
  {
    behaviour: "fills-streams",
    shows: "endless output without a reader",
    streams: { stdin: true, readLater: true },
  },
  { behaviour: "fills-streams", shows: "endless output with a reader", streams: { stdin: true } },
  {
    behaviour: "fills-streams",
    shows: "endless output of a terminal",
    streams: { stdin: true, terminal: true, readLater: true },
  },
  { behaviour: "closes-streams", shows: "streams that are closed at once", streams: { stdin: true } },
  {
    behaviour: "ignores-streams",
    shows: "streams that are never read",
    streams: { stdin: true },
    act: fillStdin,
  },
  { behaviour: "dials-the-host", shows: "thousands of connections to the host" },
  { behaviour: "hangs-up", shows: "a closed connection", ends: true },
  { behaviour: "dies", shows: "a kernel panic", ends: true, logs: /panic/ },
  { behaviour: "resets", shows: "a reset", ends: true },
  { behaviour: "spins", shows: "a busy loop" },
  { behaviour: "fills-memory", shows: "exhausted memory", ends: true },
];

/** Returns the shim's warnings and errors in a log. */
function warnings(log: string): string {
  const lines = log.split("\n").filter((line) => /^\{"level":[4-9]/.test(line));
  return lines.map((line) => line.slice(0, 600)).join("\n");
}

/** Without it the flood would prove nothing. */
async function oomReported({ containerId }: Task, { events }: HostilePods): Promise<void> {
  await events.until(containerId, "oom");
}

async function failingStats({ client, containerId }: Task): Promise<void> {
  await failure(client.tasks.metrics({ filters: [`id==${containerId}`] }).then(nonEmpty));
}

function nonEmpty({ metrics }: { metrics: unknown[] }): void {
  if (metrics.length === 0) throw new Error("no metrics");
}

/** Fills the FIFO and all buffers behind it. */
async function fillStdin(task: Task): Promise<void> {
  const block = "x".repeat(4096);
  for (let count = 0; count < 10_000; count++) {
    try {
      task.write(block);
    } catch (error) {
      assert.equal((error as { code?: unknown }).code, "EAGAIN");
      return;
    }
  }
  assert.fail("40 MB were accepted for a guest that does not read");
}

describe("hostile guest", {
  skip: !chosenLines().includes("2") && "HULL_E2E_LINES leaves containerd 2 out",
}, () => {
  let ready: HostilePods | undefined;
  const pods = (): HostilePods => {
    assert.ok(ready, "the containerd of this suite did not start");
    return ready;
  };
  before(async () => {
    ready = await HostilePods.up();
  });
  after(() => ready?.down());

  for (const { behaviour, shows, streams, act, ends = false, status = KILLED, startFails, logs } of CASES) {
    it(`${behaviour}: ${shows}`, async (t) => {
      const log = await pods().guarded(async () => {
        const task = await pods().task({ behaviour, ...streams });
        const watch = await pods().watch(task);
        if (startFails) assert.match(await failure(task.start(1_500)), startFails);
        else await task.start();
        await act?.(task, pods());
        if (!ends) {
          await watch.rounds(5);
          await watch.idle();
        }
        assert.equal(ends ? await ended(task) : await kill(task), status);
        await watch.rounds(1);
        t.diagnostic(await watch.end());
        await task.remove();
      });
      if (logs) assert.ok(logs.test(log), `${logs} is not in the log: ${warnings(log)}`);
    });
  }

  it("Create fails with a printable message if the guest refuses it", async () => {
    await pods().guarded(async () => {
      assert.match(
        await failure(pods().task({ behaviour: "refuses-call:createContainer" })),
        /reported as Internal/,
      );
    });
  });

  it("Create fails in time if the guest does not answer Hello or Create", async () => {
    await pods().guarded(async () => {
      const greeting = pods().task({ config: "noHello" });
      const creation = pods().task({ config: "noCreate", behaviour: "silent:createContainer" });
      for (const text of await Promise.all([failure(greeting), failure(creation)])) {
        assert.match(text, /timed out after 5000 ms/);
      }
    });
  });

  it("a container survives false reports about its execs and statistics", async (t) => {
    await pods().guarded(async () => {
      const task = await pods().task({});
      const watch = await pods().watch(task);
      await task.start();
      const { containerId, client } = task;
      /** Creates an exec that selects a behaviour. */
      const exec = (behaviour: string, args = ["true"]) =>
        task.exec({ args, env: [`HULL_BEHAVIOUR=${behaviour}`, "PATH=/bin"] });
      const status = async (behaviour: string) => {
        const one = await exec(behaviour);
        await one.start();
        const code = await one.exited();
        await one.delete();
        return code;
      };
      for (const at of ["0", "1", "9223372036854775807", "18446744073709551615"]) {
        const begin = Date.now();
        const one = await exec(`ended-at:${at}`);
        await one.start();
        const exitedAt = Number((await client.tasks.wait(one.ref)).exitedAt?.seconds ?? Number.NaN);
        assert.ok(
          exitedAt >= Math.floor(begin / 1000) && exitedAt <= Date.now() / 1000,
          `${exitedAt} for ${at}`,
        );
        await one.delete();
      }
      for (const call of ["createExec", "startProcess"]) {
        const one = await exec(`silent:${call}`);
        assert.match(await failure(one.start(1_000)), TIMED_OUT);
        await status("honest");
      }
      const undeleted = await exec("silent:deleteProcess");
      await undeleted.start();
      assert.equal(await undeleted.exited(), 0);
      assert.match(await failure(client.tasks.deleteProcess(undeleted.ref, { timeoutMs: 1_000 })), TIMED_OUT);
      assert.equal(await status("deletes-nothing"), 0);
      assert.equal(await status("claims-pending-output"), 0);
      for (const behaviour of ["silent:statsContainer", "rubbish-stats", "long-stats:500000"]) {
        assert.equal(await status(behaviour), 0);
        await mayFail(client.tasks.metrics({ filters: [`id==${containerId}`] }));
      }
      await watch.rounds(3);
      await watch.idle();
      assert.equal(await status("honest"), 0);
      assert.equal(await task.state(), "RUNNING");
      assert.equal(await kill(task), KILLED);
      t.diagnostic(await watch.end());
      await task.remove();
    });
  });
});
