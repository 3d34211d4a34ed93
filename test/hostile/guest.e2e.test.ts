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
const LOST = 137;

/** The error of a call after its deadline, from the shim or a client in between. */
const GIVEN_UP = /within|deadline|cancel/i;

interface Case {
  readonly evil: string;
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
  readonly says?: RegExp;
}

const CASES: readonly Case[] = [
  { evil: "silent:startProcess", shows: "a start without an answer", startFails: GIVEN_UP },
  { evil: "silent:waitProcess", shows: "an end that is kept secret" },
  { evil: "silent:signalProcess", shows: "a signal without an answer", says: /cannot be killed/ },
  { evil: "silent", shows: "no answer at all", startFails: GIVEN_UP, says: /cannot be killed/ },
  { evil: "kills-nothing", shows: "a kill that is only said to be done", says: /after SIGKILL/ },
  { evil: "refuses:NotFound", shows: "NotFound to everything", startFails: /no no/ },
  {
    evil: "refuses:Unimplemented",
    shows: "Unimplemented to everything",
    startFails: /reported as Unimplemented/,
  },
  { evil: "refuses-call:shutdown", shows: "a VM that is not shut down", says: /did not shut down by itself/ },
  { evil: "ends-at-once:0", shows: "success of what still runs", ends: true, status: 0 },
  { evil: "ends-at-once:999", shows: "an impossible exit status", ends: true, says: /exit status 999/ },
  {
    evil: "long-stats:2000000",
    shows: "statistics of 2 MB",
    act: failingStats,
    ends: true,
    says: /statistics of p\d+ of \d+ characters/,
  },
  {
    evil: "sends-garbage",
    shows: "garbage in the place of frames",
    ends: true,
    says: /violated the protocol|more than ttrpc allows/,
  },
  { evil: "announces-2-gib", shows: "a frame of 2 GiB", ends: true, says: /a frame of 2147483647 bytes/ },
  {
    evil: "answers-nobody",
    shows: "an answer that nobody waits for",
    ends: true,
    says: /violated the protocol/,
  },
  {
    evil: "rubbish-answers",
    shows: "answers that cannot be decoded",
    act: failingStats,
    ends: true,
    says: /violated the protocol/,
  },
  { evil: "half-a-frame", shows: "a frame that never ends" },
  { evil: "answers-again:4194304", shows: "answers to calls that are over" },
  { evil: "tells-ooms:1000", shows: "OOM events without end", act: oomTold },
  { evil: "tells-ooms:4000000", shows: "long OOM events without end" },
  { evil: "fills-console", shows: "a console full of escape sequences" },
  {
    evil: "fills-streams",
    shows: "output without end, to nobody",
    streams: { stdin: true, readLater: true },
  },
  { evil: "fills-streams", shows: "output without end, to a reader", streams: { stdin: true } },
  {
    evil: "fills-streams",
    shows: "a terminal without end",
    streams: { stdin: true, terminal: true, readLater: true },
  },
  { evil: "closes-streams", shows: "streams that are closed at once", streams: { stdin: true } },
  { evil: "takes-no-streams", shows: "streams that nobody takes", streams: { stdin: true }, act: fillStdin },
  { evil: "dials-the-host", shows: "thousands of connections to the host" },
  { evil: "hangs-up", shows: "a connection that is ended", ends: true },
  { evil: "dies", shows: "a kernel panic", ends: true, says: /panic/ },
  { evil: "resets", shows: "a reset", ends: true },
  { evil: "spins", shows: "a processor that is kept busy" },
  { evil: "fills-memory", shows: "memory that is used up", ends: true },
];

/** Returns the shim's warnings and errors in a log. */
function warnings(log: string): string {
  const lines = log.split("\n").filter((line) => /^\{"level":[4-9]/.test(line));
  return lines.map((line) => line.slice(0, 600)).join("\n");
}

/** Without it the flood would prove nothing. */
async function oomTold({ containerId }: Task, { events }: HostilePods): Promise<void> {
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
  assert.fail("40 MB were taken for a guest that reads nothing");
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

  for (const { evil, shows, streams, act, ends = false, status = LOST, startFails, says } of CASES) {
    it(`${evil}: ${shows}`, async (t) => {
      const said = await pods().guarded(async () => {
        const task = await pods().task({ evil, ...streams });
        const watch = await pods().watch(task);
        if (startFails) assert.match(await failure(task.start(1_500)), startFails);
        else await task.start();
        await act?.(task, pods());
        if (!ends) {
          await watch.rounds(5);
          await watch.quiet();
        }
        assert.equal(ends ? await ended(task) : await kill(task), status);
        await watch.rounds(1);
        t.diagnostic(await watch.end());
        await task.remove();
      });
      if (says) assert.ok(says.test(said), `the log does not say ${says}: ${warnings(said)}`);
    });
  }

  it("refuses-call:createContainer: Create fails with a printable message", async () => {
    await pods().guarded(async () => {
      assert.match(
        await failure(pods().task({ evil: "refuses-call:createContainer" })),
        /reported as Internal/,
      );
    });
  });

  it("no answer to Hello or to Create: Create fails in time", async () => {
    await pods().guarded(async () => {
      const greeting = pods().task({ config: "silentHello" });
      const creation = pods().task({ config: "silentCreate", evil: "silent:createContainer" });
      for (const text of await Promise.all([failure(greeting), failure(creation)])) {
        assert.match(text, /timed out after 5000 ms/);
      }
    });
  });

  it("a container survives lies about its execs and its statistics", async (t) => {
    await pods().guarded(async () => {
      const task = await pods().task({});
      const watch = await pods().watch(task);
      await task.start();
      const { containerId, client } = task;
      /** Creates an exec that selects a behaviour. */
      const exec = (evil: string, args = ["true"]) =>
        task.exec({ args, env: [`HULL_EVIL=${evil}`, "PATH=/bin"] });
      const status = async (evil: string) => {
        const one = await exec(evil);
        await one.start();
        const code = await one.exited();
        await one.delete();
        return code;
      };
      for (const at of ["0", "1", "9223372036854775807", "18446744073709551615"]) {
        const begin = Date.now();
        const one = await exec(`ended-at:${at}`);
        await one.start();
        const told = Number((await client.tasks.wait(one.ref)).exitedAt?.seconds ?? Number.NaN);
        assert.ok(told >= Math.floor(begin / 1000) && told <= Date.now() / 1000, `${told} for ${at}`);
        await one.delete();
      }
      for (const call of ["createExec", "startProcess"]) {
        const one = await exec(`silent:${call}`);
        assert.match(await failure(one.start(1_000)), GIVEN_UP);
        await status("honest");
      }
      const undeleted = await exec("silent:deleteProcess");
      await undeleted.start();
      assert.equal(await undeleted.exited(), 0);
      assert.match(await failure(client.tasks.deleteProcess(undeleted.ref, { timeoutMs: 1_000 })), GIVEN_UP);
      assert.equal(await status("deletes-nothing"), 0);
      assert.equal(await status("owes-output"), 0);
      for (const evil of ["silent:statsContainer", "rubbish-stats", "long-stats:500000"]) {
        assert.equal(await status(evil), 0);
        await mayFail(client.tasks.metrics({ filters: [`id==${containerId}`] }));
      }
      await watch.rounds(3);
      await watch.quiet();
      assert.equal(await status("honest"), 0);
      assert.equal(await task.state(), "RUNNING");
      assert.equal(await kill(task), LOST);
      t.diagnostic(await watch.end());
      await task.remove();
    });
  });
});
