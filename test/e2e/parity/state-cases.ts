import { setTimeout as sleep } from "node:timers/promises";
import { Metrics } from "../../../src/proto/generated/io/containerd/cgroups/v1/metrics.ts";
import { ociAny } from "../../testkit/containerd-client.ts";
import { answer, type ParityCase, type Subject } from "./subject.ts";

const MIB = 1 << 20;
const WRONG_STATE = "FAILED_PRECONDITION";
/**
 * `tail` keeps a stream without newlines in memory. It asks to be killed first: otherwise the kernel may kill
 * init as a second victim, before the memory of the first is free.
 */
const EAT = "echo 1000 >/proc/self/oom_score_adj; exec tail /dev/zero";

/** Resolves with memory limit and process count from containerd's statistics. */
async function metrics({ client }: Subject, id: string) {
  const { metrics: all } = await client.tasks.metrics({ filters: [`id==${id}`] });
  const data = all[0]?.data;
  if (!data?.typeUrl.endsWith("io.containerd.cgroups.v1.Metrics")) return { kind: data?.typeUrl ?? "none" };
  const { memory, pids } = Metrics.decode(data.value);
  return {
    kind: data.typeUrl,
    limit: Number(memory?.usage?.limit ?? 0n) / MIB,
    pids: Number(pids?.limit ?? 0n),
  };
}

/**
 * Resolves with the events of a container until its deletion, without that one: hull must report it; runc's
 * shim may be shut down before it has, so there it waits for `last`.
 */
async function untilDeleted({ runtime, events }: Subject, id: string, last: string): Promise<string[]> {
  const deletion = /^delete \d+$/;
  const seen = await events.until(id, runtime === "hull" ? deletion : last);
  return seen.filter((event) => !deletion.test(event));
}

/** Resolves with whether `measure` stays the same for `ms` milliseconds, now or soon. */
async function silentFor(ms: number, measure: () => unknown): Promise<boolean> {
  for (const end = performance.now() + 20_000; performance.now() < end; ) {
    const before = measure();
    await sleep(ms);
    if (measure() === before) return true;
  }
  return false;
}

export const STATE_CASES: readonly ParityCase[] = [
  {
    name: "states: every call in every state",
    run: async (subject) => {
      const { tasks } = subject.client;
      const task = await subject.create(["sh", "-c", "read line; exit 5"], { stdin: true });
      const { containerId } = task;
      const calls = async () => ({
        state: await answer(task.state()).then(async (code) => (code === "OK" ? await task.state() : code)),
        resume: await answer(tasks.resume({ containerId })),
      });
      try {
        const created = { ...(await calls()), pause: await answer(tasks.pause({ containerId })) };
        await task.start();
        const running = {
          ...(await calls()),
          start: await answer(task.start()),
          delete: await answer(tasks.delete({ containerId })),
        };
        await tasks.pause({ containerId });
        const paused = {
          state: await task.state(),
          pause: await answer(tasks.pause({ containerId })),
          start: await answer(task.start()),
          delete: await answer(tasks.delete({ containerId })),
        };
        await tasks.resume({ containerId });
        task.write("go\n");
        const { code } = await task.ended();
        const stopped = {
          ...(await calls()),
          start: await answer(task.start()),
          pause: await answer(tasks.pause({ containerId })),
          kill: await answer(task.kill(9)),
          code,
          waitAgain: await task.exited(),
        };
        return { created, running, paused, stopped };
      } finally {
        await task.remove();
      }
    },
    hull: {
      does: {
        created: { state: "CREATED", resume: WRONG_STATE, pause: WRONG_STATE },
        running: { state: "RUNNING", resume: WRONG_STATE, start: WRONG_STATE, delete: WRONG_STATE },
        paused: { state: "PAUSED", pause: WRONG_STATE, start: WRONG_STATE, delete: WRONG_STATE },
        stopped: {
          ...{ state: "STOPPED", resume: WRONG_STATE, start: WRONG_STATE, pause: WRONG_STATE },
          ...{ kill: "NOT_FOUND", code: 5, waitAgain: 5 },
        },
      },
      why: "a call in the wrong state is FailedPrecondition, containerd's class for it; runc's shim returns Unknown",
    },
  },
  {
    name: "states: a created container is deleted before its start",
    run: async (subject) => {
      const task = await subject.create(["true"]);
      await task.remove();
      // runc may or may not notice the exit of an init that waits for its start, and so may lack its status.
      const events = await untilDeleted(subject, task.containerId, "create");
      return events.map((event) => event.split(" ")[0] ?? "").filter((kind) => kind !== "exit");
    },
  },
  {
    name: "states: a paused container does not run until it is resumed",
    run: (subject) =>
      subject.with(["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"], async (task) => {
        const { containerId } = task;
        await task.stdout?.printed("3\n");
        await subject.client.tasks.pause({ containerId });
        // Only time shows that it is stopped, and earlier output may still be in flight.
        const still = await silentFor(500, () => task.stdout?.bytes);
        await subject.client.tasks.resume({ containerId });
        await task.stdout?.printed("20\n");
        return { still };
      }),
  },
  {
    name: "events: of a container with execs, in order",
    run: async (subject) => {
      const id = "eventful";
      await subject.with(
        ["sleep", "1000"],
        async (task) => {
          await task.run(["sh", "-c", "exit 3"], { id: "first" } as object);
          const second = await (await task.exec(["sleep", "1000"], { id: "second" })).start();
          await subject.client.tasks.pause({ containerId: id });
          await subject.client.tasks.resume({ containerId: id });
          await task.kill(9);
          await second.exited();
          await task.exited();
        },
        { id },
      );
      return await untilDeleted(subject, id, "exit 137");
    },
  },
  {
    name: "events: an exec's exit comes before its container's, for twenty execs",
    run: async (subject) => {
      const id = "crowded";
      await subject.with(
        ["sleep", "1000"],
        async (task) => {
          await Promise.all(
            Array.from({ length: 20 }, async () => await (await task.exec(["sleep", "1000"])).start()),
          );
          await task.kill(9);
          await task.exited();
        },
        { id },
      );
      const events = await subject.events.until(id, "exit 137");
      const exits = events.filter((event) => event.startsWith("exit"));
      return {
        exits: exits.length,
        codes: [...new Set(exits.map((exit) => exit.split(" ").at(-1) ?? ""))],
        last: exits.at(-1) ?? "",
      };
    },
  },
  {
    name: "update: memory limit and number of processes",
    run: (subject) =>
      subject.with(["sleep", "1000"], async (task) => {
        const { containerId } = task;
        const resources = { memory: { limit: 64 * MIB }, pids: { limit: 20 }, cpu: { shares: 512 } };
        const updated = await answer(
          subject.client.tasks.update({ containerId, resources: ociAny("LinuxResources", resources) }),
        );
        return { updated, ...(await metrics(subject, containerId)) };
      }),
  },
  {
    name: "OOM: reported each time, exit 137, the container keeps running",
    run: (subject) =>
      subject.with(
        ["sleep", "1000"],
        async (task) => {
          const codes = [];
          let reported = true;
          for (let time = 1; time <= 2; time++) {
            const before = subject.events.of(task.containerId).filter((event) => event === "oom").length;
            codes.push((await task.sh(EAT)).code);
            const end = performance.now() + 30_000;
            const oom = () => subject.events.of(task.containerId).filter((event) => event === "oom").length;
            while (oom() === before && performance.now() < end) await sleep(50);
            reported &&= oom() > before;
          }
          return { codes, reported, state: await task.state() };
        },
        {
          edit: ({ linux }) => {
            linux.resources = { ...linux.resources, memory: { limit: 32 * MIB } };
          },
        },
      ),
  },
  {
    name: "OOM: of the init process",
    run: (subject) =>
      subject.with(["sh", "-c", "exec tail /dev/zero"], async (task) => (await task.ended()).code, {
        edit: ({ linux }) => {
          linux.resources = { ...linux.resources, memory: { limit: 32 * MIB } };
        },
      }),
  },
  {
    name: "checkpoint",
    run: async ({ client, host }) => {
      const code = await answer(client.tasks.checkpoint({ containerId: host.containerId }));
      return { refused: code !== "OK" };
    },
  },
  {
    name: "list of processes",
    run: (subject) =>
      subject.with(["sh", "-c", "sleep 1000 & echo ready; wait"], async (task) => {
        await task.stdout?.printed("ready");
        const { processes } = await subject.client.tasks.listPids({ containerId: task.containerId });
        return processes.length;
      }),
    hull: {
      does: 1,
      why: "the whole VM is one process on the host; the guest's PIDs would be mistaken for the host's",
    },
  },
];
