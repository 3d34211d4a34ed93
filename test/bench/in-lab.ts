/** hack/bench --lab: the measures in an emulated host whose clock counts instructions. */
import { cpSync, existsSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { cachePath, keyOf } from "../../hack/lib/cache.ts";
import { ROOT, run } from "../../hack/lib/run.ts";
import { asCaller } from "../lab/caller.ts";
import { down, readInside, runInside, up } from "../lab/lab.ts";
import type { Omission, Row } from "./report.ts";

/** The result of hack/bench --json. */
export interface Result {
  readonly machine: object;
  readonly containerd: string;
  readonly quick: boolean;
  readonly rows: readonly Row[];
  readonly omissions: readonly Omission[];
}

/** Where the emulated host keeps the result. */
const RESULT = "/run/bench.json";

/**
 * Runs hack/bench of the repository in `root`, a directory of this machine, in a fresh emulated host with exact time.
 *
 * @param args the arguments of hack/bench, without --lab and output files
 */
export async function measureInLab(root: string, args: readonly string[]): Promise<Result> {
  await up({
    ...{ cpus: 1, memoryMib: 8192, kernel: "6.1", qemu: undefined, accelOptions: undefined },
    ...{ exactTime: true, iommu: false, fresh: false },
  });
  try {
    const bench = [join(root, "hack/bench"), ...args, "--json", RESULT];
    const status = await runInside(asCaller(bench), false);
    if (status !== 0) throw new Error(`hack/bench in the lab: status ${status}`);
    return JSON.parse(await readInside(`cat ${RESULT}`));
  } finally {
    await down();
  }
}

/** Returns a directory with a built copy of a revision, in the cache. */
export function builtRevision(revision: string): string {
  const id = run("git", ["rev-parse", "--verify", `${revision}^{commit}`]).trim();
  const cached = cachePath("bench", keyOf(id));
  if (existsSync(cached)) return cached;
  const work = mkdtempSync(`${cached}.`);
  try {
    const tree = join(work, "tree");
    run("git", ["clone", "--quiet", "--no-checkout", ROOT, tree]);
    run("git", ["-C", tree, "checkout", "--quiet", id]);
    cpSync(join(ROOT, "node_modules"), join(tree, "node_modules"), { recursive: true, verbatimSymlinks: true });
    run(join(tree, "hack/setup"), [], { cwd: tree, stdio: ["ignore", "ignore", "inherit"] });
    renameSync(tree, cached);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return cached;
}
