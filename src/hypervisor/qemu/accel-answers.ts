import { constants } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { HullError, ignoring } from "../../core/errors.ts";
import { writeFileAtomically } from "../../host/write-file-atomically.ts";
import type { KvmObstacle } from "./kvm-probe.ts";

/** What is known about KVM on this host. */
export interface AccelAnswer {
  /** Identifies what the answer depends on. */
  readonly key: string;
  /** Undefined if KVM works. */
  readonly obstacle?: KvmObstacle | undefined;
  /** How many probes in a row have found an obstacle. */
  readonly failures: number;
  /** The value of `now()` from which an obstacle is to be probed again. */
  readonly renewAt: number;
}

/** Enough for handlers with QEMUs and kernels of their own; the answers of replaced versions must not pile up. */
const MOST_ANSWERS = 16;
const FIRST_RENEWAL_MS = 60_000;
const LAST_RENEWAL_MS = 3_600_000;

/** Milliseconds of a clock that only the host's boot resets, as it resets the answers. */
const now = () => Number(process.hrtime.bigint() / 1_000_000n);

/** Returns what an answer depends on: the boot of the host, its /dev/kvm, this QEMU and this kernel. */
export async function answerKey(device: string, path: string, kernel: string): Promise<string> {
  const boot = (await readFile("/proc/sys/kernel/random/boot_id", "latin1")).trim();
  // A module that is loaded again has a new node; a change of its mode or owner changes its ctime.
  const node = await stat(device).catch(ignoring("ENOENT")); // it may vanish after it was opened
  const files = await Promise.all(
    [path, kernel].map(async (file) => {
      const { ino, size, mtimeMs } = await stat(file).catch((error: unknown) => {
        throw HullError.wrap("probe KVM", error, "FailedPrecondition");
      });
      return `${file} ${ino} ${size} ${mtimeMs}`;
    }),
  );
  return [boot, node ? `${node.ino} ${node.ctimeMs}` : "no device", ...files].join("\n");
}

/** The file with the answers of all pods. */
export class AccelAnswers {
  constructor(readonly path: string) {}

  /** Returns the answer for a key; undefined if there is none. */
  async find(key: string): Promise<AccelAnswer | undefined> {
    return (await this.#read()).find((answer) => answer.key === key);
  }

  /** Whether an obstacle has been known for long enough to be probed again. */
  static isStale({ obstacle, renewAt }: AccelAnswer): boolean {
    return obstacle !== undefined && now() >= renewAt;
  }

  /**
   * Replaces the answer for a key, and drops the oldest. The pause until an obstacle is probed again doubles with `failures`.
   * The caller holds the lock.
   */
  async record(key: string, obstacle: KvmObstacle | undefined, failures: number): Promise<void> {
    const pause = Math.min(FIRST_RENEWAL_MS * 2 ** (failures - 1), LAST_RENEWAL_MS);
    const answer = { key, ...(obstacle && { obstacle }), failures, renewAt: now() + pause };
    const others = (await this.#read()).filter((other) => other.key !== key);
    try {
      await writeFileAtomically(this.path, JSON.stringify([answer, ...others].slice(0, MOST_ANSWERS)));
    } catch (error) {
      throw HullError.wrap(`record in ${this.path} whether KVM works`, error);
    }
  }

  /** Returns the recorded answers, newest first; none if another user can write the file, or if it is a symlink. */
  async #read(): Promise<AccelAnswer[]> {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW;
    const handle = await open(this.path, flags).catch(ignoring("ENOENT", "ELOOP"));
    if (!handle) return [];
    try {
      const { uid, mode } = await handle.stat();
      if (uid !== process.getuid?.() || (mode & 0o022) !== 0) return [];
      const answers: unknown = JSON.parse(await handle.readFile("utf8"));
      return Array.isArray(answers) ? answers.filter(isAnswer) : [];
    } catch (error) {
      if (error instanceof SyntaxError) return []; // the next probe rewrites it
      throw error;
    } finally {
      await handle.close();
    }
  }
}

type Form<T> = Partial<Record<keyof T, unknown>>;

function isAnswer(value: unknown): value is AccelAnswer {
  const { key, obstacle, failures, renewAt } = (value ?? {}) as Form<AccelAnswer>;
  const numbers = Number.isInteger(failures) && Number.isFinite(renewAt);
  return typeof key === "string" && numbers && (obstacle === undefined || isObstacle(obstacle));
}

function isObstacle(value: unknown): value is KvmObstacle {
  const { cause, remedy, certain } = (value ?? {}) as Form<KvmObstacle>;
  return typeof cause === "string" && typeof remedy === "string" && typeof certain === "boolean";
}
