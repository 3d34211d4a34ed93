import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const KIB = 1024;

/** Memory of a process in MiB, from /proc/PID/smaps_rollup (proc(5)). */
interface Memory {
  /** Proportional set size: shared pages are divided among the processes that share them. */
  readonly pss: number;
  /**
   * Dirty private pages. Clean pages of the program do not count: they are private only while no other
   * process runs the same program, and the kernel can drop them.
   */
  readonly private: number;
}

export async function memoryOf(pid: number): Promise<Memory> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  const field = (name: string) =>
    Number(new RegExp(`^${name}: +(\\d+) kB$`, "m").exec(text)?.[1] ?? Number.NaN);
  return {
    pss: field("Pss") / KIB,
    private: field("Private_Dirty") / KIB,
  };
}

const IDLE_MS = 20_000;

/** Waits until a process is as idle as after days: V8 releases memory after about ten seconds. */
export async function idle(quick: boolean): Promise<void> {
  if (!quick) await sleep(IDLE_MS);
}

/** The role of a process in a pod. */
export type Role = "shim" | "VMM" | "virtiofsd" | "vsock daemon";

const ROLES: readonly (readonly [RegExp, Role])[] = [
  [/qemu-system|cloud-hypervisor/, "VMM"],
  [/virtiofsd/, "virtiofsd"],
  [/vhost-device-vsock/, "vsock daemon"],
  [/shim/, "shim"],
];

/**
 * Resolves with the processes of a namespace's pods, by pod, identified by containerd's flags or the mark of
 * hull's helpers.
 */
export async function podProcesses(namespace: string): Promise<Map<string, { role: Role; pid: number }[]>> {
  const pods = new Map<string, { role: Role; pid: number }[]>();
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const argv = (await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "")).split("\0");
    const role = ROLES.find(([pattern]) => argv.slice(0, 4).some((argument) => pattern.test(argument)))?.[1];
    if (!role) continue;
    const environment = await readFile(`/proc/${name}/environ`, "utf8").catch(() => "");
    const flag = (key: string) => (argv.includes(key) ? argv[argv.indexOf(key) + 1] : undefined);
    const marked = new RegExp(`(?:^|\\0)HULL_POD=${namespace}/([^\\0]+)`).exec(environment)?.[1];
    const pod = marked ?? (flag("-namespace") === namespace ? flag("-id") : undefined);
    if (pod === undefined) continue;
    pods.set(pod, [...(pods.get(pod) ?? []), { role, pid: Number(name) }]);
  }
  return pods;
}
