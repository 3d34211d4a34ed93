import { execFile } from "node:child_process";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Bench, type Measure, rounds } from "../context.ts";
import { withContainer } from "../shims.ts";

const run = promisify(execFile);
const ROUNDS = 5;
const SCRIPT_LIMIT_MS = 120_000;

interface Work {
  readonly name: string;
  readonly unit: string;
  /** Units done by one pass of `script`, which works in $D; $n is the number of the pass. */
  readonly amount: number;
  readonly script: string;
  /** Run on the host beforehand, so that a guest has nothing in its cache. */
  readonly prepare: string;
}

function works(mib: number, files: number): Work[] {
  const each = (body: string) => `i=0; while [ $i -lt ${files} ]; do ${body}; i=$((i+1)); done`;
  const write = `dd if=/dev/zero of=$D/big bs=1M count=${mib} 2>/dev/null`;
  return [
    { name: "write a file", unit: "MiB/s", amount: mib, script: write, prepare: "" },
    {
      name: "read a file",
      unit: "MiB/s",
      amount: mib,
      script: "dd if=$D/big of=/dev/null bs=1M 2>/dev/null",
      prepare: write,
    },
    {
      name: "create small files",
      unit: "files/s",
      amount: files,
      script: `mkdir $D/d$n; ${each("echo x >$D/d$n/s$i")}`,
      prepare: "",
    },
    {
      name: "read small files",
      unit: "files/s",
      amount: files,
      script: each("read x <$D/s$i"),
      prepare: each("echo x >$D/s$i"),
    },
  ];
}

/**
 * Returns a script that runs passes until `ticks` hundredths of a second have passed on the clock of its
 * kernel, from /proc/uptime: the start of the program does not count. Writes passes and hundredths to
 * $D/result.
 */
function clocked(script: string, ticks: number): string {
  return [
    "n=0; read a x </proc/uptime",
    `while :; do ${script}; n=$((n+1)); read b x </proc/uptime`,
    `e=$((\${b%.*}\${b#*.} - \${a%.*}\${a#*.})); [ $e -ge ${ticks} ] && break; done`,
    "echo $n $e >$D/result",
  ].join("\n");
}

async function result(data: string, amount: number): Promise<number> {
  const [passes = 0, ticks = 0] = (await readFile(join(data, "result"), "utf8"))
    .trim()
    .split(" ")
    .map(Number);
  return (passes * amount) / (ticks / 100);
}

async function measureFiles(bench: Bench): Promise<void> {
  const { report, containerd, quick } = bench;
  const data = join(containerd.directory, "bench/data");
  const subjects = bench.subjects.filter(({ name }) => name !== "hull template");
  const busybox = join(containerd.directory, "bench/rootfs/bin/busybox");
  const host = (script: string) =>
    run(busybox, ["sh", "-c", `D=${data}; ${script}`], { timeout: SCRIPT_LIMIT_MS });
  const clear = async () => {
    await rm(data, { recursive: true, force: true });
    await mkdir(data, { recursive: true });
  };
  // A guest's second pass would read its own cache: for slow reads there is only one pass.
  const inside = 5;
  const outside = quick ? 20 : 100;
  try {
    await rounds(bench, quick ? 1 : ROUNDS, subjects, async (subject, round) => {
      for (const { name, unit, amount, script, prepare } of works(quick ? 8 : 128, quick ? 50 : 500)) {
        await clear();
        await withContainer(bench, subject, { args: ["sleep", "1000"], data }, async (shim) => {
          if (prepare !== "") await host(prepare);
          await shim.exec("work", ["sh", "-c", `D=/data; ${clocked(script, inside)}`]);
          report.add(name, subject.name, unit, await result(data, amount));
        });
        if (subject.name !== "hull cold") continue;
        await clear();
        if (prepare !== "") await host(prepare);
        await host(clocked(script, outside));
        report.add(name, "host", unit, await result(data, amount));
        bench.progress(`files, round ${round + 1}: ${name} done`);
      }
    });
  } finally {
    await rm(data, { recursive: true, force: true });
  }
}

export const files: Measure = {
  name: "files",
  what: "a host directory over virtio-fs compared with the same directory on the host, with the same programs",
  limitSeconds: 1200,
  run: measureFiles,
};
