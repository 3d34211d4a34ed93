/**
 * SIGKILL works although the guest's VMM or backend is stopped: the VM is killed, the exit is reported,
 * nothing is left.
 */
import assert from "node:assert/strict";
import { it } from "node:test";
import { assertNoLeaks, snapshot } from "../testkit/leaks.ts";
import { podProcesses } from "../testkit/pod-processes.ts";
import { forEveryRunner, newestLine } from "./fixture.ts";

/** A pod has one of each; the last one only if a daemon serves vsock. */
const STOPPED = ["qemu", "virtiofsd", "vhost-device-vsock"];
/** The guest's five seconds, the timeouts of teardown, and a busy machine. */
const KILL_LIMIT_MS = 60_000;

forEveryRunner(
  "kill",
  (runner) => {
    for (const role of STOPPED) {
      it(`SIGKILL kills a container whose ${role} is stopped`, async (t) => {
        const { ctr, scope } = runner();
        const id = runner().id();
        const before = await snapshot(scope);
        const run = runner().start(["sh", "-c", "echo up; exec sleep 1000"], { id });
        await run.printed("up");
        const pids = (await podProcesses(ctr.namespace, id)).get(role);
        assert.ok(pids, `the pod has no ${role}`);
        for (const pid of pids) process.kill(pid, "SIGSTOP");
        const begin = performance.now();
        // virtiofsd serves files, not signals: the guest still answers.
        await ctr.expect(["task", "kill", "--signal", "SIGKILL", id], { timeoutMs: KILL_LIMIT_MS });
        const answered = performance.now();
        const { code, stderr } = await run.ended;
        assert.equal(code, 137, stderr);
        const [answer, end] = [answered - begin, performance.now() - begin].map(Math.round);
        t.diagnostic(`answered after ${answer} ms, ended after ${end} ms`);
        await assertNoLeaks(before, scope);
        const again = await runner().sh("exit 6", { id });
        assert.equal(again.code, 6, again.stderr);
      });
    }
  },
  ["hull"],
  newestLine(),
);
