import { readFile } from "node:fs/promises";
import { BUSYBOX } from "../../testkit/ctr.ts";
import { type Bench, type Measure, timed } from "../context.ts";
import { idle, memoryOf, podProcesses, type Role } from "../processes.ts";
import { makeShim } from "../shims.ts";
import { runFlags, type Subject } from "../subject.ts";

/** Reports fields of the guest's /proc, in MiB. */
async function guestFigures(bench: Bench, subject: Subject): Promise<void> {
  const { report } = bench;
  const shim = await makeShim(bench, subject, { args: ["sleep", "1000"] });
  try {
    await shim.start();
    await shim.create();
    await shim.startProcess();
    const output = `${shim.place.bundle}/figures`;
    const script = "grep -E '^(MemTotal|MemFree|Cached|Slab):' /proc/meminfo";
    await shim.exec("figures", ["sh", "-c", script], `file://${output}`);
    const text = await readFile(output, "utf8");
    const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1]) / 1024;
    report.add("guest memory in use", subject.name, "MiB", field("MemTotal") - field("MemFree"));
    report.add("guest page cache", subject.name, "MiB", field("Cached"));
    report.add("guest slab", subject.name, "MiB", field("Slab"));
  } finally {
    await shim.dispose();
  }
}

async function podsAtOnce(bench: Bench, subject: Subject, count: number): Promise<void> {
  const { ctr, report, namespace } = bench;
  const ids: string[] = [];
  const of = count === 1 ? "1 pod" : `${count} pods`;
  try {
    for (let i = 0; i < count; i++) {
      const id = bench.id("pod");
      ids.push(id);
      const run = ["run", "-d", ...runFlags(subject), BUSYBOX, id, "sleep", "100000"];
      const ms = await timed(() => ctr.expect(run));
      if (i === 0) report.add("start of the first pod", subject.name, "ms", ms);
      if (i === count - 1 && count > 1) report.add(`start of the last of ${of}`, subject.name, "ms", ms);
    }
    await idle(bench.quick);
    const pods = await podProcesses(namespace);
    for (const id of ids) {
      const sums = new Map<Role, number>();
      for (const { role, pid } of pods.get(id) ?? []) {
        sums.set(role, (sums.get(role) ?? 0) + (await memoryOf(pid)).pss);
      }
      if (!sums.has("shim")) throw new Error(`the shim of ${id} was not found among the processes`);
      for (const [role, pss] of sums) report.add(`PSS of the ${role}, ${of}`, subject.name, "MiB", pss);
      const total = [...sums.values()].reduce((sum, pss) => sum + pss, 0);
      report.add(`PSS of a whole pod, ${of}`, subject.name, "MiB", total);
    }
  } finally {
    for (const id of ids) {
      // `call`: one that never started cannot be deleted.
      await ctr.call(["tasks", "rm", "-f", id]);
      await ctr.call(["containers", "rm", id]);
    }
  }
}

export const memory: Measure = {
  name: "memory",
  what: "PSS of all processes of a pod, for several numbers of pods; memory use in the guest",
  limitSeconds: 1800,
  async run(bench) {
    for (const subject of bench.subjects) {
      for (const count of bench.pods) {
        bench.progress(`memory of ${count}: ${subject.name}`);
        await podsAtOnce(bench, subject, count);
      }
      if (subject.name !== "runc") await guestFigures(bench, subject);
    }
  },
};
