import { type ChildProcessByStdio, spawn } from "node:child_process";
import { constants } from "node:fs";
import { open, readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { withErrnoText } from "../../core/errno-text.ts";
import { errnoOf, HullError } from "../../core/errors.ts";
import { MissingToolError } from "../../host/missing-tool.ts";
import { lastLines, RingBuffer } from "../../host/ring-buffer.ts";
import { scrubbedEnvironment } from "../../host/run.ts";
import { KERNEL_PARAMETERS } from "../kernel-parameters.ts";

/** Why KVM cannot be used, and what an operator can do about it. */
export interface KvmObstacle {
  readonly cause: string;
  readonly remedy: string;
  /** False if it may only look so, because the host was busy. */
  readonly certain: boolean;
}

/** How long a probe may take. */
export interface ProbeLimits {
  /** Without a line from the guest's kernel, in ms. Each line starts it again. */
  readonly silence: number;
  /** Altogether, in ms. */
  readonly total: number;
}

/**
 * On a processor with virtualization a kernel is never silent for longer than 0.3 s. Where virtualization is emulated, it is
 * silent for 2 s, and for 13 s before its first line if its file is not cached; with six busy processes per processor, for more
 * than 15 s.
 */
const PROBE_LIMITS: ProbeLimits = { silence: 60_000, total: 300_000 };

/** A kernel without a root file system gets as far as this if interrupts, timers and page tables work. */
const BOOTED = /VFS: (Cannot open root device|Unable to mount root)|No working init found/;
const PANIC = /Kernel panic - not syncing: .*/;
/** QEMU stops the VM after this, but does not exit. */
const STOPPED = /KVM internal error.*|kvm run failed.*/;
const BUSY = "run `hull check` when the host is less busy";
const UNSUITABLE =
  "if this host's KVM cannot run guests, as in some virtual machines, set hypervisor.accel to tcg";

/** Opens /dev/kvm, and returns why it cannot be opened; undefined if it can. */
export async function openKvm(path = "/dev/kvm"): Promise<KvmObstacle | undefined> {
  try {
    await (await open(path, constants.O_RDWR)).close();
    return undefined;
  } catch (thrown) {
    const errno = errnoOf(thrown) ?? "";
    const cause =
      errno === "ENOENT" ? `${path} does not exist` : withErrnoText(`open ${path} ${errno}`, errno);
    const denied = ["EACCES", "EPERM"].includes(errno);
    const remedy = denied
      ? "let containerd's processes open it (mode, devices cgroup)"
      : await moduleAdvice();
    return { cause, remedy, certain: true };
  }
}

async function moduleAdvice(): Promise<string> {
  const flags = / (svm|vmx) /.exec(await readFile("/proc/cpuinfo", "latin1"))?.[1];
  if (flags) return `run: modprobe ${flags === "svm" ? "kvm_amd" : "kvm_intel"}`;
  return "enable virtualization in the firmware or, if this is a virtual machine, nested virtualization on its host";
}

/** A running probe. It ends with this process at the latest, and does not keep it alive. */
interface KvmProbe {
  /** Resolves when QEMU runs; where it runs (cgroup, namespaces) is settled then. Rejects like `obstacle`. */
  readonly started: Promise<void>;
  /** Resolves to why KVM cannot run the kernel; to undefined if it can. Rejects if a tool is missing. */
  readonly obstacle: Promise<KvmObstacle | undefined>;
}

/**
 * Boots the kernel in KVM without a root file system, and watches its console. Only this shows that KVM can run a guest:
 * some open and create VMs, and a stock kernel hangs in them.
 */
export function probeKvm(path: string, kernel: string, limits: ProbeLimits = PROBE_LIMITS): KvmProbe {
  const machine = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
  const guest = ["-machine", "q35,accel=kvm", "-cpu", "host", "-m", "128M", "-kernel", kernel];
  // Every byte of a console is an exit from the guest: enough lines to see progress, a tenth of what the kernel could print.
  const parameters = [
    ...KERNEL_PARAMETERS.filter((parameter) => parameter !== "quiet"),
    "loglevel=6",
    "reboot=t",
  ];
  const qemu = [path, ...machine, ...guest, "-append", parameters.join(" "), "-serial", "stdio"];
  const env = scrubbedEnvironment();
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", ...qemu], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.unref();
  const started = new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error: NodeJS.ErrnoException) => {
      const missing = error.code === "ENOENT" && new MissingToolError("setpriv", env.PATH ?? "", error);
      reject(missing || HullError.wrap("probe KVM", error));
    });
  });
  const obstacle = started.then(() => watch(child, limits)).finally(() => child.kill("SIGKILL"));
  for (const promise of [started, obstacle]) promise.catch(() => undefined); // the caller awaits one of them later
  return { started, obstacle };
}

/** Resolves as soon as the outcome is known. */
function watch(
  child: ChildProcessByStdio<null, Readable, Readable>,
  limits: ProbeLimits,
): Promise<KvmObstacle | undefined> {
  const [console, stderr] = [new RingBuffer(), new RingBuffer()];
  const timers: NodeJS.Timeout[] = [];
  const outcome = new Promise<KvmObstacle | undefined>((resolve) => {
    const giveUp = (ms: number) => () => resolve(hangs(console, ms));
    const silence = setTimeout(giveUp(limits.silence), limits.silence).unref();
    timers.push(silence, setTimeout(giveUp(limits.total), limits.total).unref());
    child.stdout.on("data", (data: Buffer) => {
      console.write(data);
      if (!data.includes("\n")) return;
      silence.refresh();
      const text = console.text();
      if (BOOTED.test(text)) resolve(undefined);
      const [panic] = PANIC.exec(text) ?? [];
      if (panic) resolve(unsuitable(`the guest's kernel does not boot: ${panic}`));
    });
    child.stderr.on("data", (data: Buffer) => {
      stderr.write(data);
      const [stopped] = STOPPED.exec(stderr.text()) ?? [];
      if (stopped) resolve(unsuitable(`QEMU: ${stopped}`));
    });
    child.once("close", (status, signal) => resolve(ended(status, signal, console, stderr)));
  });
  for (const pipe of [child.stdout, child.stderr]) (pipe as Socket).unref();
  return outcome.finally(() => {
    for (const timer of timers) clearTimeout(timer);
  });
}

const unsuitable = (cause: string): KvmObstacle => ({ cause, remedy: UNSUITABLE, certain: true });

function hangs(console: RingBuffer, ms: number): KvmObstacle {
  const last = lastLines(console.text(), 1);
  const where = last === "" ? "it has printed no line" : `its last line: ${last}`;
  const cause = `the guest's kernel does not boot within ${ms / 1000} s; ${where}`;
  return { cause, remedy: `${BUSY}; ${UNSUITABLE}`, certain: false };
}

function ended(
  status: number | null,
  signal: string | null,
  console: RingBuffer,
  stderr: RingBuffer,
): KvmObstacle {
  if (signal === "SIGKILL") {
    return { cause: "QEMU was killed", remedy: "give the host more memory", certain: false };
  }
  if (status !== 0) {
    // The cause of an assertion is in the line before it.
    const said = lastLines(stderr.text(), 2).replaceAll("\n", ", ");
    return unsuitable(`QEMU: ${said || (signal ?? `exit status ${status}`)}`);
  }
  const last = lastLines(console.text(), 1);
  return unsuitable(`the guest resets before it has booted${last && `; its last line: ${last}`}`);
}
