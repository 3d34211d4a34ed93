import { type Measure, rounds, timed } from "../context.ts";
import { makeShim } from "../shims.ts";

const EXECS = 3;

export const tasks: Measure = {
  name: "tasks",
  what: "each call in a task's life cycle, made to the shim directly",
  limitSeconds: 900,
  async run(bench) {
    const { report } = bench;
    await rounds(bench, bench.runs, bench.subjects, async (subject) => {
      const add = (measure: string, ms: number) => report.add(measure, subject.name, "ms", ms);
      const shim = await makeShim(bench, subject, { args: ["sleep", "1000"] });
      const member = await makeShim(bench, subject, {
        args: ["true"],
        annotations: {
          "io.kubernetes.cri.container-type": "container",
          "io.kubernetes.cri.sandbox-id": shim.place.id,
        },
      });
      try {
        const { startMs, answerMs } = await shim.start();
        add("shim start", startMs);
        add("shim start to its first answer", answerMs);
        add("task Create", await timed(() => shim.create()));
        add("task Start", await timed(() => shim.startProcess()));
        if (subject.name !== "runc") {
          report.add("start of a no-op program", "host", "ms", await member.startNothing());
          add("shim start, further container of a pod", (await member.start()).startMs);
          // The member has no task: its `delete` finds nothing to clean up.
          add("shim delete, nothing left", await member.deleteAction());
        }
        for (let i = 0; i < EXECS; i++) {
          add("exec, from Exec to Delete's answer", await timed(() => shim.exec(`e${i}`, ["true"])));
        }
        add("SIGKILL to Wait's answer", await timed(() => shim.kill()));
        add("task Delete", await timed(() => shim.delete()));
        add("shim delete after a normal exit", await shim.shutdown());
      } finally {
        await shim.dispose();
        await member.dispose();
      }
    });
  },
};
