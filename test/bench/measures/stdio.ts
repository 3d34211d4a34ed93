import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Measure, rounds, timed } from "../context.ts";
import { memoryOf } from "../processes.ts";
import { withContainer } from "../shims.ts";

const run = promisify(execFile);
const BULK = "MiB through stdout";

/** Reads a FIFO to its end and resolves with the number of bytes. */
async function count(fifo: string): Promise<number> {
  const reader = spawn("wc", ["-c", fifo], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  reader.stdout.on("data", (data: Buffer) => {
    text += data.toString();
  });
  await once(reader, "close");
  return Number.parseInt(text, 10);
}

export const stdio: Measure = {
  name: "stdio",
  what: "bulk output through a FIFO, and the shim's memory growth",
  limitSeconds: 900,
  async run(bench) {
    const { report, outputMib } = bench;
    // hull's stdio path does not depend on how the VM was started.
    const subjects = bench.subjects.filter(({ name }) => name !== "hull template");
    await rounds(bench, bench.quick ? 1 : 3, subjects, async (subject) => {
      await withContainer(bench, subject, { args: ["sleep", "1000"] }, async (shim) => {
        const pid = await shim.shimPid();
        const fifo = join(shim.place.bundle, "stdout");
        await run("mkfifo", [fifo]);
        const transfer = async (id: string, mib: number) => {
          const read = count(fifo);
          await shim.exec(id, ["sh", "-c", `dd if=/dev/zero bs=1M count=${mib} 2>/dev/null`], fifo);
          const bytes = await read;
          if (bytes !== mib << 20) throw new Error(`${bytes} bytes of ${mib} MiB arrived`);
        };
        await transfer("warm", 1);
        const before = await memoryOf(pid);
        const ms = await timed(() => transfer("bulk", outputMib));
        const after = await memoryOf(pid);
        report.add("stdout", subject.name, "MiB/s", outputMib / (ms / 1000));
        report.add(
          `shim's growth after ${outputMib} ${BULK}`,
          subject.name,
          "MiB",
          after.private - before.private,
        );
      });
    });
  },
};
