import { statusName } from "../../testkit/containerd-client.ts";
import { answer, type ParityCase } from "./subject.ts";

const SIGKILL = 9;
const SIGUSR1 = 10;
const SIGTERM = 15;
const REAL_TIME = 40;
const LOOP = "while :; do sleep 0.1; done";

export const SIGNAL_CASES: readonly ParityCase[] = [
  {
    name: "kill: SIGTERM to a handler that takes two seconds",
    run: (subject) =>
      subject.with(
        ["sh", "-c", `trap 'sleep 2; echo bye; exit 7' TERM; echo ready; ${LOOP}`],
        async (task) => {
          await task.stdout?.printed("ready");
          await task.kill(SIGTERM);
          return await task.ended();
        },
      ),
  },
  {
    name: "kill: SIGTERM to a process that ignores it, then SIGKILL",
    run: (subject) =>
      subject.with(["sh", "-c", `trap '' TERM; trap 'echo usr1' USR1; echo ready; ${LOOP}`], async (task) => {
        await task.stdout?.printed("ready");
        await task.kill(SIGTERM);
        await task.kill(SIGUSR1); // after the other
        await task.stdout?.printed("usr1");
        const state = await task.state();
        await task.kill(SIGKILL);
        return { state, ...(await task.ended()), again: await answer(task.kill(SIGKILL)) };
      }),
  },
  {
    name: "kill: SIGTERM to a PID 1 without a handler for it",
    run: (subject) =>
      subject.with(["sh", "-c", "echo ready; exec sleep 1000"], async (task) => {
        await task.stdout?.printed("ready");
        await task.kill(SIGTERM);
        // A signal without a handler is dropped when it is sent: a container that still runs has survived it.
        if (subject.runtime === "hull") await task.exited();
        else await task.sh("true");
        return await task.state();
      }),
    hull: {
      does: "STOPPED",
      why: "Linux drops a SIGTERM that PID 1 of a namespace has no handler for; hull then sends SIGKILL (`runtime.sigterm_escalation: unhandled`), so such containers do not take their whole grace period",
    },
  },
  {
    name: "kill: SIGUSR1 and a real-time signal to an exec",
    run: async ({ host }) => {
      const codes = [];
      for (const signal of [SIGUSR1, REAL_TIME]) {
        const exec = await host.exec(["sh", "-c", "echo ready; exec sleep 1000"]);
        await exec.start();
        await exec.stdout?.printed("ready");
        await exec.kill(signal);
        codes.push((await exec.ended()).code, await answer(exec.kill(signal)));
        await exec.delete();
      }
      return codes;
    },
  },
  {
    name: "kill: a process that does not exist",
    run: async ({ host, client }) => [
      await answer(client.tasks.kill({ containerId: "nobody", signal: SIGKILL })),
      await answer(client.tasks.kill({ containerId: host.containerId, execId: "nobody", signal: SIGKILL })),
    ],
  },
  {
    name: "kill: all processes of a container",
    run: (subject) =>
      subject.with(
        ["sh", "-c", `trap '' TERM; (trap 'echo child; exit' TERM; echo ready; ${LOOP}) & wait; ${LOOP}`],
        async (task) => {
          const exec = await (await task.exec(["sleep", "1000"])).start();
          await task.stdout?.printed("ready");
          await task.kill(SIGTERM, true);
          const execCode = (await exec.ended()).code;
          await task.stdout?.printed("child");
          const state = await task.state();
          await task.kill(SIGKILL, true);
          return { execCode, state, code: (await task.ended()).code };
        },
      ),
  },
  {
    name: "kill: a PID 1 with zombies",
    run: (subject) =>
      subject.with(
        ["sh", "-c", "for i in 1 2 3; do sleep 0 & done; echo ready; exec sleep 1000"],
        async (task) => {
          await task.stdout?.printed("ready");
          await task.kill(SIGKILL);
          return (await task.ended()).code;
        },
      ),
  },
  {
    name: "kill: a container without its own PID namespace",
    run: async (subject) => {
      const killed = subject.with(
        ["sh", "-c", "sleep 1000 & echo ready; wait"],
        async (task) => {
          await task.stdout?.printed("ready");
          await task.kill(SIGKILL, true);
          return await task.exited();
        },
        {
          edit: ({ linux }) => {
            linux.namespaces = linux.namespaces.filter(({ type }) => type !== "pid");
          },
        },
      );
      // Only a refusal is expected here; any other error fails the test.
      return await killed.catch((error) => {
        if (statusName(error) !== "INVALID_ARGUMENT") throw error;
        return "refused";
      });
    },
    hull: {
      does: "refused",
      why: "a VM cannot share the host's PID namespace",
    },
  },
  {
    name: "kill: a paused container; execs end with their container",
    run: (subject) =>
      subject.with(["sleep", "1000"], async (task) => {
        const { containerId } = task;
        const exec = await (await task.exec(["sleep", "1000"])).start();
        await subject.client.tasks.pause({ containerId });
        await task.kill(SIGKILL);
        // A frozen process gets its signal when it thaws.
        await answer(subject.client.tasks.resume({ containerId }));
        return { exec: await exec.exited(), init: await task.exited() };
      }),
  },
];
