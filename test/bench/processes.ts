import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const KIB = 1024;

/** Memory of a process in MiB, from /proc/PID/smaps_rollup (proc(5)). */
interface Memory {
  /** Its share of everything: shared pages are divided among those who share them. */
  readonly pss: number;
  /**
   * Pages that it has written itself. Clean pages of its program are left out: they are only private as long as no
   * other process of the machine runs the same program, and the kernel can drop them.
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

/** Until a process is idle as one that waits for days is: V8 looks for memory to give back after ten seconds or so. */
export async function idle(quick: boolean): Promise<void> {
  if (!quick) await sleep(IDLE_MS);
}

/** What a process of a pod is. */
export type Role = "shim" | "VMM" | "virtiofsd" | "vsock daemon";

const ROLES: readonly (readonly [RegExp, Role])[] = [
  [/qemu-system|cloud-hypervisor/, "VMM"],
  [/virtiofsd/, "virtiofsd"],
  [/vhost-device-vsock/, "vsock daemon"],
  [/shim/, "shim"],
];

/** The processes of the pods of one namespace, by pod: containerd's flags or the mark that hull's helpers carry. */
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
