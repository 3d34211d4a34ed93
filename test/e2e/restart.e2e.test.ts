/**
 * containerd is killed while containers run, and restarted: nothing that happened meanwhile is lost, and
 * everything keeps running. (containerd 1.7 and later remove runc's tasks that exited meanwhile, since they
 * have no processes any more. hull's have the VMM's PID while they are known.)
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Timestamp } from "../../src/proto/generated/google/protobuf/timestamp.ts";
import type { Process } from "../testkit/proto/generated/containerd/services/tasks.ts";
import type { TaskExec, TaskProcess } from "../testkit/task.ts";
import { chosenLines } from "./fixture.ts";
import { hullBehind, type Subject } from "./parity/subject.ts";

const SIGTERM = 15;
/** Exits with this status when it reads a line. */
const exitOnLine = (status: number) => ["sh", "-c", `read line; exit ${status}`];
const ECHO = ["sh", "-c", 'echo ready; while read line; do echo "got $line"; done; exit 4'];

const milliseconds = ({ seconds, nanos }: Timestamp) => Number(seconds) * 1000 + nanos / 1e6;

/** Resolves with containerd's view of a process, which it must know. */
async function processOf(process: TaskProcess): Promise<Process> {
  const answer = await process.client.tasks.get(process.ref);
  assert.ok(answer.process, "the answer has no process");
  return answer.process;
}

for (const line of chosenLines()) {
  describe(`containerd ${line}: restart`, () => {
    const hull = hullBehind(line);

    it("containers keep running while containerd is dead, and the restarted containerd gets everything that happened", async () => {
      const subject = hull();
      const { host, containerd } = subject;
      const { pid } = await processOf(host);
      const talker = await (await host.exec(ECHO, { id: "talker", stdin: true })).start();
      const execs: TaskExec[] = [];
      for (const status of [11, 12, 13])
        execs.push(await (await host.exec(exitOnLine(status), { id: `e${status}`, stdin: true })).start());
      const ending = await subject.create(exitOnLine(5), { id: "ending", stdin: true });
      await ending.start();
      await talker.stdout?.printed("ready\n");

      await containerd.kill();
      talker.stdout?.close(); // this client dies with containerd
      const dead = Date.now();
      for (const process of [...execs, ending]) {
        process.write("go\n");
        await process.outputEnded();
      }
      talker.write("meanwhile\n");
      const alive = Date.now();
      const restarting = containerd.restart();
      await subject.reconnected();
      await restarting;

      // What was running still is, with the same identity, and can be attached to.
      const again = await processOf(host);
      assert.deepEqual([again.status, again.pid], [2, pid]);
      const { stdin, stdout, stderr } = await processOf(talker);
      assert.deepEqual({ stdin, stdout, stderr }, talker.paths);
      talker.read();
      talker.write("afterwards\n");
      await talker.stdout?.printed("got meanwhile\ngot afterwards\n");
      assert.deepEqual(await host.sh("echo new; exit 8"), { code: 8, out: "new\n", err: "" });

      // What exited has its status and exit time in every call.
      for (const [process, status] of [...execs.map((exec, index) => [exec, 11 + index]), [ending, 5]] as [
        TaskProcess,
        number,
      ][]) {
        const state = await processOf(process);
        const wait = await process.client.tasks.wait(process.ref);
        assert.deepEqual([state.status, state.exitStatus, wait.exitStatus], [3, status, status]);
        assert.ok(state.exitedAt && wait.exitedAt);
        assert.deepEqual(state.exitedAt, wait.exitedAt);
        const at = milliseconds(state.exitedAt);
        assert.ok(at >= dead - 50 && at <= alive + 50, `${at} is not within ${dead} and ${alive}`);
      }
      for (const [index, exec] of execs.entries()) assert.equal(await exec.delete(), 11 + index);

      // A client that waits again gets the exit; a late kill gets NotFound.
      const exit = talker.exited();
      await talker.closeStdin();
      assert.equal(await exit, 4);
      await talker.delete();
      await assert.rejects(ending.kill(SIGTERM), { code: 5 });
      await ending.remove();
      await assertEvents(subject);
    });
  });
}

/** The events of the host container's shim while containerd was dead. */
const WAITING = ["exit e11 11", "exit e12 12", "exit e13 13"];

/**
 * Checks that pending events came in order. The shims may have been faster than our subscription, so that
 * only the last ones are seen: the shims log how many there were.
 */
async function assertEvents({ events, host, containerd }: Subject): Promise<void> {
  const ended = await events.until("ending", "delete 5");
  assert.deepEqual(ended, ["exit 5", "delete 5"].slice(2 - ended.length));
  const seen = await events.until(host.containerId, "exit talker 4");
  const waited = seen.filter((event) => /^exit e1[123] /.test(event));
  assert.deepEqual(waited, WAITING.slice(WAITING.length - waited.length));
  assert.equal(seen.filter((event) => event.startsWith("exit")).at(-1), "exit talker 4");
  const log = await containerd.log(Number.POSITIVE_INFINITY);
  const returns = /"pod":"(\w+)".*containerd accepts events again: (\d+) waited, 0 lost so far/g;
  const counts = new Map([...log.matchAll(returns)].map(([, pod, count]) => [pod, Number(count)]));
  // Events since containerd's restart may have been added.
  for (const [pod, least] of [["ending", 1] as const, [host.containerId, WAITING.length] as const]) {
    const held = counts.get(pod) ?? 0;
    assert.ok(held >= least, `${held} events of ${pod} were pending`);
  }
}
