/** hack/bench --lab: the measures in an emulated host whose clock counts instructions. */
import { join } from "node:path";
import { ROOT } from "../../hack/lib/run.ts";
import { asCaller } from "../lab/caller.ts";
import { down, up } from "../lab/lab.ts";
import { readInside, runInside } from "../lab/login.ts";
import type { HostOptions } from "../lab/options.ts";
import { comparisonTable } from "./compare.ts";
import type { Options } from "./options.ts";
import { publish, type Result } from "./result.ts";
import { builtRevision } from "./revision.ts";

const HOST: HostOptions = {
  cpus: 1,
  memoryMib: 8192,
  kernel: "6.1",
  qemu: undefined,
  accelOptions: undefined,
  exactTime: true,
  iommu: false,
  systemd: false,
  fresh: false,
};
/** Where the emulated host keeps the result. */
const RESULT = "/run/bench.json";
/** In real time. The longest measure takes ten minutes on two idle processors. */
const LIMIT_MINUTES = 60;
const ATTEMPTS = 2;

/** The results of all measures, and what was taken again. */
interface Measured {
  readonly result: Result;
  readonly retaken: readonly string[];
}

/** Measures this tree and, with --compare, another revision, and publishes the results. */
export async function benchInLab(options: Options): Promise<void> {
  const { compare } = options;
  // It is built first, so that an error shows early.
  const other = compare === undefined ? undefined : builtRevision(compare);
  const { result, retaken } = await measure(ROOT, options);
  const facts = ["clock: instructions of the emulated host, 2 ns each", ...retaken];
  if (compare === undefined || other === undefined) {
    await publish(options, result, "bench lab", facts);
    return;
  }
  const before = await measure(other, options);
  const table = comparisonTable(compare, before.result.rows, result.rows);
  await publish(options, result, "bench lab", [
    ...facts,
    ...before.retaken.map((text) => `${compare}: ${text}`),
  ]);
  console.log(`\n${table}`);
}

/** Takes each measure in a host of its own, so that none depends on what ran before. */
async function measure(root: string, options: Options): Promise<Measured> {
  const results: Result[] = [];
  const retaken: string[] = [];
  for (const name of options.only) {
    for (let attempt = 1; ; attempt++) {
      const { result, failure } = await attemptOf(root, name, options);
      if (result && (failure === undefined || attempt === ATTEMPTS)) {
        results.push(result);
        if (failure !== undefined) process.exitCode = 1;
        break;
      }
      if (attempt === ATTEMPTS) throw new Error(`${name} in the lab: ${failure}`);
      retaken.push(`taken again: ${name}, because of: ${failure}`);
    }
  }
  const [first] = results;
  if (!first) throw new Error("nothing was measured");
  const rows = results.flatMap((one) => one.rows);
  const omissions = results.flatMap((one) => one.omissions);
  return { result: { ...first, rows, omissions }, retaken };
}

/** Takes one measure. A host that hangs is ended: it cannot notice that itself. */
async function attemptOf(
  root: string,
  name: string,
  options: Options,
): Promise<{ result?: Result; failure: string | undefined }> {
  const { runs, pods, line, quick } = options;
  const sizes = ["--runs", String(runs), "--pods", pods.join(","), ...(quick ? ["--quick"] : [])];
  const bench = [join(root, "hack/bench"), "--only", name, "--line", line, ...sizes, "--json", RESULT];
  // Its table is printed with those of the other measures.
  const quiet = ["sh", "-c", 'exec "$@" >/dev/null', "sh", ...bench];
  await up(HOST);
  let late = false;
  let ended = Promise.resolve();
  const timer = setTimeout(() => {
    late = true;
    ended = down();
  }, LIMIT_MINUTES * 60_000);
  try {
    const status = await runInside(asCaller(quiet), false);
    if (late) return { failure: `no result after ${LIMIT_MINUTES} minutes` };
    const text = await readInside(`cat ${RESULT} 2>/dev/null || true`);
    if (text === "") return { failure: `status ${status}` };
    const result: Result = JSON.parse(text);
    if (status === 0) return { result, failure: undefined };
    return { result, failure: result.omissions.map(({ reason }) => reason).join("; ") };
  } finally {
    clearTimeout(timer);
    await ended;
    await down();
  }
}
