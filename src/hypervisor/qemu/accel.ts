import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";
import { lockFile } from "../../host/file-lock.ts";
import { type AccelAnswer, AccelAnswers, answerKey } from "./accel-answers.ts";
import { type KvmObstacle, openKvm, type ProbeLimits, probeKvm } from "./kvm-probe.ts";

/** Where a search for KVM reports what an operator should know. */
export interface AccelReport {
  /** Called for each guest that is emulated because KVM cannot be used, with cause and remedy. */
  warn(message: string): void;
  /** Called once by the process that finds it usable. */
  info(message: string): void;
}

/** What a search for KVM needs. */
export interface AccelSearch extends AccelReport {
  /** QEMU's executable. */
  readonly path: string;
  /** The guest kernel, which KVM must be able to run. */
  readonly kernel: string;
  /** The directory, accessible to root only, that keeps the answers. Default: /run/hull. */
  readonly directory?: string;
  /** Default: /dev/kvm. */
  readonly device?: string;
  /** Probe even if the answer is known. */
  readonly fresh?: boolean;
  readonly limits?: ProbeLimits;
  /** Default: 20 s. */
  readonly patience?: number;
}

/** After this long, pods that start do not wait for a probe any more. */
const PATIENCE_MS = 20_000;
const NOT_YET: KvmObstacle = {
  cause: "the guest's kernel has not booted in KVM yet; the probe continues",
  remedy: "run `hull check`",
  certain: false,
};

/** Resolves `accel: auto`: `kvm` if KVM can run the guest's kernel, else `tcg` with one warning. */
export async function resolveAccel(search: AccelSearch, deadline: Deadline): Promise<"kvm" | "tcg"> {
  const obstacle = await kvmObstacle(search, deadline);
  if (!obstacle) return "kvm";
  const { cause, remedy } = obstacle;
  search.warn(`KVM cannot be used: ${cause}; the guest is emulated (TCG), which is slow; ${remedy}`);
  return "tcg";
}

/**
 * Returns why KVM cannot run the guest's kernel; undefined if it can. The answer holds for this boot of the host, this
 * /dev/kvm, QEMU and kernel. One process probes, others wait, none longer than half of its deadline: the rest is for a
 * guest that is emulated. A probe continues after that. An obstacle is probed again now and then, and no pod waits for it.
 */
export async function kvmObstacle(search: AccelSearch, deadline: Deadline): Promise<KvmObstacle | undefined> {
  const { directory = "/run/hull", device = "/dev/kvm", fresh = false } = search;
  // Known at once, and nothing to remember: what has been found out about the device may hold again.
  const closed = await openKvm(device);
  if (closed) return closed;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const key = await answerKey(device, search.path, search.kernel);
  const answers = new AccelAnswers(join(directory, "accel.json"));
  const context = { search, directory, key, answers };
  const known = fresh ? undefined : await answers.find(key);
  if (known && !AccelAnswers.isStale(known)) return known.obstacle;
  const share = deadline.shorter(
    fresh ? Number.POSITIVE_INFINITY : deadline.remainingMs / 2,
    "the KVM probe",
  );
  try {
    if (!known) return await share.race((await begin(context, true, share)).outcome);
    // A pod does not fail because something that it does not need cannot be started.
    await begin(context, false, share).catch((error: unknown) => warnOf(search, error));
    return known.obstacle;
  } catch (thrown) {
    deadline.check();
    if (!share.reason) throw thrown;
    return NOT_YET;
  } finally {
    share.dispose();
  }
}

const warnOf = ({ warn }: AccelSearch, error: unknown) =>
  warn(HullError.wrap("the KVM probe", error).message);

interface SearchContext {
  readonly search: AccelSearch;
  readonly directory: string;
  readonly key: string;
  readonly answers: AccelAnswers;
}

/** A probe that runs, in this process or another, or its outcome. */
interface Probing {
  readonly outcome: Promise<KvmObstacle | undefined>;
}

/** Resolves when a probe has started, which fixes its cgroup. Without `wait`, another process's probe is enough. */
async function begin(context: SearchContext, wait: boolean, share: Deadline): Promise<Probing> {
  const { search, directory, key, answers } = context;
  const lock = await lockFile(join(directory, "accel.lock"), { wait }, share);
  if (!lock) return { outcome: Promise.resolve(NOT_YET) };
  lock.unref();
  try {
    // The previous holder of the lock may have recorded the answer.
    const found = await answers.find(key);
    const valid = found && !search.fresh && !AccelAnswers.isStale(found);
    const probe = valid ? undefined : probeKvm(search.path, search.kernel, search.limits);
    await probe?.started;
    const outcome = probe ? conclude(context, probe.obstacle, found) : Promise.resolve(found?.obstacle);
    const released = outcome.finally(() => lock.release());
    released.catch((error: unknown) => warnOf(search, error));
    return { outcome: released };
  } catch (thrown) {
    await lock.release();
    throw thrown;
  }
}

/** Records the outcome of a probe. */
async function conclude(
  { search, key, answers }: SearchContext,
  probe: Promise<KvmObstacle | undefined>,
  known: AccelAnswer | undefined,
): Promise<KvmObstacle | undefined> {
  const began = performance.now();
  const failures = (known?.failures ?? 0) + 1;
  const provisional = known ? known.obstacle : NOT_YET;
  // This process may end before the probe does. The next pods must not wait for as long again.
  const late = sleep(known ? 0 : (search.patience ?? PATIENCE_MS), "late", { ref: false });
  if ((await Promise.race([probe, late])) === "late" && provisional)
    await answers.record(key, provisional, failures);
  const obstacle = await probe;
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  if (!obstacle)
    search.info(`KVM runs the guest's kernel (found in ${seconds} s); guests use it from now on`);
  // That the host is busy does not disprove an earlier answer.
  const doubtful = obstacle?.certain === false && known !== undefined && !known.obstacle;
  if (!doubtful) await answers.record(key, obstacle, obstacle ? failures : 0);
  return obstacle;
}
