import assert from "node:assert/strict";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Cri, CriPod } from "./cri.ts";

interface Churn {
  /** CRI's runtime handler. */
  readonly handler: string;
  readonly pods: number;
  /** Pods created concurrently. */
  readonly atOnce: number;
  /** Containers per pod. */
  readonly containers: number;
  /** Directory for the pods' logs; created and removed. */
  readonly directory: string;
}

/**
 * Creates pods, checks exec and log of every container, and removes all in random order. Names are the same
 * every time.
 */
export async function churn(cri: Cri, options: Churn): Promise<void> {
  const pods: CriPod[] = [];
  const left = Array.from({ length: options.pods }, (_, index) => index);
  const worker = async () => {
    for (let index = left.shift(); index !== undefined; index = left.shift())
      pods.push(await onePod(cri, options, index));
  };
  await Promise.all(Array.from({ length: options.atOnce }, worker));
  const removal = shuffled(pods);
  const remover = async () => {
    for (let pod = removal.pop(); pod; pod = removal.pop()) await pod.remove();
  };
  await Promise.all(Array.from({ length: options.atOnce }, remover));
  await rm(options.directory, { recursive: true, force: true });
}

async function onePod(cri: Cri, options: Churn, index: number): Promise<CriPod> {
  const name = `churn-${index}`;
  const logDirectory = join(options.directory, name);
  await mkdir(logDirectory, { recursive: true });
  const metadata = { name, uid: name, namespace: "hull-test", attempt: 0 };
  const pod = await cri.runPod(options.handler, { metadata, logDirectory });
  const check = async (container: number) => {
    const mark = `pod ${index} container ${container}`;
    const logPath = `${container}.log`;
    const script = `trap 'exit 0' TERM; echo ${mark}; sleep 100000 & wait`;
    const running = await pod.run(["sh", "-c", script], {
      metadata: { name: `c${container}`, attempt: 0 },
      logPath,
    });
    assert.equal((await running.sh(`echo "${mark}" >/tmp/mark; cat /tmp/mark`)).stdout, `${mark}\n`);
    assert.match(await readFile(join(logDirectory, logPath), "utf8"), new RegExp(` stdout F ${mark}\n`));
  };
  await Promise.all(Array.from({ length: options.containers }, (_, container) => check(container)));
  return pod;
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, rank: Math.random() }))
    .sort((one, other) => one.rank - other.rank)
    .map(({ item }) => item);
}
