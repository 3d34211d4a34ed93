import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { access, link, mkdir, open, readFile, rm, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../../core/deadline.ts";
import { errnoOf, HullError, ignoring } from "../../core/errors.ts";
import { MissingToolError } from "../../host/missing-tool.ts";
import { isAlive, startTimeOf } from "../../host/proc.ts";
import { run } from "../../host/run.ts";
import { writeFileAtomically } from "../../host/write-file-atomically.ts";

interface AccelProbe {
  /** QEMU's executable. */
  readonly path: string;
  /** The guest kernel, which KVM must be able to run. */
  readonly kernel: string;
  /** The directory, accessible to root only, that keeps the answers. Default: /run/hull. */
  readonly directory?: string;
  /** Called once by the process that finds KVM unusable. */
  warn(message: string): void;
}

/** How long a kernel without a root file system may take to panic; with a working KVM it takes well below 1 s. */
const PROBE_MS = 6_000;
/** Enough for handlers with QEMUs and kernels of their own; the answers of replaced versions must not pile up. */
const MOST_ANSWERS = 16;

interface Answer {
  /** Identifies the boot of the host, the QEMU and the kernel. */
  readonly key: string;
  readonly accel: "kvm" | "tcg";
}

/**
 * Resolves `accel: auto`: `kvm` if KVM can run the guest's kernel, else `tcg`. A working /dev/kvm proves little (with
 * some KVMs a stock kernel hangs), so the kernel is booted once without an initrd until it panics. The answer holds
 * for this boot of the host, this QEMU and this kernel. One process probes, others wait.
 */
export async function resolveAccel(probe: AccelProbe, deadline: Deadline): Promise<"kvm" | "tcg"> {
  const denied = await access("/dev/kvm", constants.R_OK | constants.W_OK).then(() => undefined, String);
  if (denied !== undefined) {
    probe.warn(`no KVM (${denied}): guests are emulated (TCG), which is slow`);
    return "tcg";
  }
  const directory = probe.directory ?? "/run/hull";
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const lock = join(directory, "accel.lock");
  const key = await probeKey(probe);
  const file = join(directory, "accel.json");
  const known = async () => (await recall(file)).find((answer) => answer.key === key)?.accel;
  while (true) {
    const accel = await known();
    if (accel) return accel;
    if (await takeLock(lock)) break;
    await deadline.race(new Promise((resolve) => setTimeout(resolve, 100)));
  }
  try {
    // The previous holder of the lock may have recorded the answer.
    const found = await known();
    if (found) return found;
    const accel = (await kvmRuns(probe, deadline)) ? "kvm" : "tcg";
    if (accel === "tcg") {
      probe.warn(
        "KVM is available but cannot run the guest's kernel: guests are emulated (TCG), which is slow",
      );
    }
    await remember(file, { key, accel });
    return accel;
  } finally {
    await unlink(lock);
  }
}

/** Adds an answer and drops the oldest. The caller holds the lock. */
async function remember(file: string, answer: Answer): Promise<void> {
  const answers = [answer, ...(await recall(file))].slice(0, MOST_ANSWERS);
  try {
    await writeFileAtomically(file, JSON.stringify(answers));
  } catch (error) {
    throw HullError.wrap(`record in ${file} whether KVM works`, error);
  }
}

/** Boots the kernel in KVM and checks that it gets as far as missing its root file system. */
async function kvmRuns(probe: AccelProbe, deadline: Deadline): Promise<boolean> {
  const machine = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
  const guest = ["-machine", "q35,accel=kvm", "-cpu", "host", "-m", "128M", "-kernel", probe.kernel];
  const append = ["-append", "console=ttyS0 panic=-1 reboot=t", "-serial", "stdio"];
  const limit = deadline.shorter(PROBE_MS, "the KVM probe");
  try {
    // setpriv: the probe must not outlive this process.
    const qemu = [probe.path, ...machine, ...guest, ...append];
    const output = await run(["setpriv", "--pdeathsig", "KILL", "--", ...qemu], limit);
    return output.includes("Kernel panic - not syncing");
  } catch (thrown) {
    deadline.check(); // rethrows if the caller's deadline ended, not only the probe's
    if (thrown instanceof MissingToolError) throw thrown;
    return false;
  } finally {
    limit.dispose();
  }
}

async function probeKey(probe: AccelProbe): Promise<string> {
  const boot = (await readFile("/proc/sys/kernel/random/boot_id", "latin1")).trim();
  const files = await Promise.all(
    [probe.path, probe.kernel].map(async (path) => {
      const { ino, size, mtimeMs } = await stat(path).catch((error: unknown) => {
        throw HullError.wrap("probe KVM", error, "FailedPrecondition");
      });
      return `${path} ${ino} ${size} ${mtimeMs}`;
    }),
  );
  return [boot, ...files].join("\n");
}

/** Returns the recorded answers, newest first; none if another user can write the file. */
async function recall(file: string): Promise<Answer[]> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW).catch(ignoring("ENOENT"));
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

function isAnswer(value: unknown): value is Answer {
  const { key, accel } = (value ?? {}) as Partial<Record<keyof Answer, unknown>>;
  return typeof key === "string" && (accel === "kvm" || accel === "tcg");
}

/**
 * Returns whether this process got the lock. Otherwise removes the lock file if its owner is dead, for the next attempt.
 * The file is linked when complete: on a full file system it would stay empty, without an owner to check for.
 */
async function takeLock(lock: string): Promise<boolean> {
  const mine = `${lock}.${randomUUID()}`;
  try {
    await writeFile(mine, `${process.pid} ${startTimeOf(process.pid)}`, { mode: 0o600 });
    await link(mine, lock);
    return true;
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw HullError.wrap(`probe KVM: lock ${lock}`, error);
  } finally {
    await rm(mine, { force: true });
  }
  const owner = await readFile(lock, "latin1").catch(() => undefined);
  if (owner === undefined) return false; // released meanwhile
  const [pid, startTime] = owner.split(" ");
  // It may be gone: another waiter does the same.
  if (!isAlive(Number(pid), startTime ?? "")) await unlink(lock).catch(() => undefined);
  return false;
}
