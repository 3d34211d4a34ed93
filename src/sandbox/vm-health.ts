import type { GuestAgent } from "../agent/guest-agent.ts";
import type { Config } from "../config/schema/schema.ts";
import type { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { childrenOf, isStopped } from "../host/proc.ts";
import type { Vm, VmStatus } from "../hypervisor/hypervisor.ts";
import type { UnresponsiveGuest } from "./sandbox.ts";
import { type FailedProbe, type Health, Watchdog } from "./watchdog.ts";

/** A process without which a VM cannot run. */
interface VmProcess {
  readonly role: string;
  readonly pid: number;
}

/** A VM and the processes to check. */
export interface WatchedVm {
  readonly vm: Pick<Vm, "pid" | "status">;
  /** The VMM's name in messages: `qemu`. */
  readonly vmmRole: string;
  readonly agent: Pick<GuestAgent, "ping">;
  /** Processes other than the VMM whose being stopped would explain an unresponsive guest. */
  readonly helpers: readonly VmProcess[];
}

/** Watches a running VM as configured. `givenUp` resolves with the reason if the VM must be killed. */
export function watchVm(
  watched: WatchedVm,
  settings: Pick<Config["runtime"], "health_interval" | "health_timeout" | "health_action">,
  report: (health: Health) => void,
): { watchdog: Watchdog; givenUp: Promise<string> } {
  const givenUp = deferred<string>();
  const watchdog = new Watchdog({
    intervalMs: settings.health_interval,
    timeoutMs: settings.health_timeout,
    probe: (deadline) => probeVm(watched, deadline),
    report: (health) => {
      report(health);
      // While the guest answers, its containers run, whatever the VMM does.
      if (
        settings.health_action === "kill" &&
        health.unresponsive.some(({ component }) => component === "guest")
      )
        givenUp.resolve(`the VM was killed (runtime.health_action: kill): ${healthSentence(health)}`);
    },
  });
  return { watchdog, givenUp: givenUp.promise };
}

/**
 * Probes VMM and agent concurrently, for `Watchdog`: returns those that do not answer, undefined if paused.
 */
export async function probeVm(watched: WatchedVm, deadline: Deadline): Promise<FailedProbe[] | undefined> {
  const { vm, agent, vmmRole } = watched;
  const [status, answered] = await Promise.all([
    deadline.race(vm.status(deadline)).catch(() => undefined), // reported below
    deadline.race(agent.ping(deadline)).then(
      () => true,
      () => false,
    ),
  ]);
  if (status?.state === "paused") return undefined;
  const failed: FailedProbe[] = [];
  if (status?.state !== "running") {
    failed.push({ component: "vmm", ...(await failedVmmProbe({ role: vmmRole, pid: vm.pid }, status)) });
  }
  if (!answered) {
    const text = "the guest agent does not answer";
    const stopped = await stoppedOf(watched.helpers);
    if (stopped.length === 0) failed.push({ component: "guest", text });
    else
      failed.push({
        component: "guest",
        text: `${text}: ${stopped.join(" and ")} ${stopped.length === 1 ? "is" : "are"} stopped`,
        stopped: true,
      });
  }
  return failed;
}

async function failedVmmProbe(
  vmm: VmProcess,
  status: VmStatus | undefined,
): Promise<Omit<FailedProbe, "component">> {
  if (status?.state === "broken") return { text: `${vmm.role} has stopped the guest (${status.reason})` };
  const [stopped] = await stoppedOf([vmm]);
  if (stopped === undefined) return { text: `${vmm.role} does not answer` };
  return { text: `${stopped} is stopped`, stopped: true };
}

/** Returns why a guest does not answer; undefined if it does or is paused. Never rejects. */
export async function unresponsiveGuest(
  watched: WatchedVm,
  deadline: Deadline,
): Promise<UnresponsiveGuest | undefined> {
  const failed = (await probeVm(watched, deadline)) ?? [];
  if (!failed.some(({ component }) => component === "guest")) return undefined;
  return {
    text: failed.map(({ text }) => text).join("; "),
    stopped: failed.some(({ stopped }) => stopped),
  };
}

/** Returns the processes of a VM that are stopped by a signal. Never rejects. */
export async function stoppedComponents({ vm, vmmRole, helpers }: WatchedVm): Promise<string[]> {
  return await stoppedOf([{ role: vmmRole, pid: vm.pid }, ...helpers]);
}

/** Returns the processes and forks that are stopped by a signal, without those that cannot be read. */
async function stoppedOf(processes: readonly VmProcess[]): Promise<string[]> {
  const names = processes.map(async ({ role, pid }) => {
    const pids = [pid, ...(await childrenOf(pid).catch(() => []))];
    const stopped = await Promise.all(pids.map((one) => isStopped(one).catch(() => false)));
    return pids.filter((_, index) => stopped[index]).map((one) => `${role} (process ${one})`);
  });
  return (await Promise.all(names)).flat();
}

/** Returns a finding as text, for logs and events. */
export function healthSentence({ unresponsive, forMs }: Health): string {
  if (unresponsive.length === 0) return `all components of the VM answer again, after ${forMs} ms`;
  return `${unresponsive.map(({ text }) => text).join("; ")} (for ${forMs} ms)`;
}
