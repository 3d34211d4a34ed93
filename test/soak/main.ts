/**
 * hack/soak: creates, uses and removes pods for a while and reports what grows. One pod runs all the time: its
 * shim's memory and descriptors are watched.
 */
import { readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { churn } from "../testkit/churn.ts";
import { Containerd } from "../testkit/containerd.ts";
import { Cri, IDLE } from "../testkit/cri.ts";
import { leaksSince, snapshot } from "../testkit/leaks.ts";

/** Allowed growth of a process from the first round to the end: heap sizes vary. */
const MEMORY_ALLOWANCE_KIB = 16 * 1024;
const DESCRIPTOR_ALLOWANCE = 8;

const minutes = Number(process.argv[2] ?? 10);
const handler = process.argv[3] ?? "hull";
if (!(minutes > 0)) {
  console.error("usage: hack/soak [MINUTES] [HANDLER]");
  process.exit(2);
}

/** Resident memory (KiB) and open descriptors of a process. */
async function usage(pid: number): Promise<{ memory: number; descriptors: number }> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const memory = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  return { memory, descriptors: (await readdir(`/proc/${pid}/fd`)).length };
}

async function soak(): Promise<string[]> {
  const containerd = await Containerd.up("2");
  const cri = new Cri(containerd.address);
  try {
    const pod = await cri.runPod(handler);
    const container = await pod.run(IDLE);
    const shim = Number(/^\d+/.exec(await readFile(`/run/hull/k8s.io/${pod.id}/shim.pid`, "utf8"))?.[0]);
    const scope = { namespace: "k8s.io", directory: containerd.directory };
    const end = performance.now() + minutes * 60_000;
    const problems: string[] = [];
    let first: Awaited<ReturnType<typeof usage>> | undefined;
    let now = await usage(shim);
    let rounds = 0;
    while (performance.now() < end && problems.length === 0) {
      const before = await snapshot(scope);
      const directory = join(tmpdir(), `hull-soak-${process.pid}`);
      await churn(cri, { handler, pods: 3, atOnce: 3, containers: 2, directory });
      for (let index = 0; index < 5; index++) await container.sh("echo still here");
      problems.push(...(await leaksSince(before, scope)).map((leak) => `round ${rounds}: left: ${leak}`));
      now = await usage(shim);
      first ??= now;
      rounds += 1;
      console.log(`round ${rounds}: the shim has ${now.memory} KiB, ${now.descriptors} descriptors`);
    }
    if (first && now.memory > first.memory + MEMORY_ALLOWANCE_KIB)
      problems.push(`the shim grew from ${first.memory} to ${now.memory} KiB`);
    if (first && now.descriptors > first.descriptors + DESCRIPTOR_ALLOWANCE)
      problems.push(`the shim's descriptors grew from ${first.descriptors} to ${now.descriptors}`);
    await pod.remove();
    console.log(`${rounds} rounds in ${minutes} minutes`);
    return problems;
  } finally {
    cri.close();
    await containerd.down();
  }
}

soak().then(
  (problems) => {
    for (const problem of problems) console.error(problem);
    process.exitCode = problems.length === 0 ? 0 : 1;
  },
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
