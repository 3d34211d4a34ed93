import type { Call } from "./calls.ts";
import type { Life } from "./life.ts";
import type { FaultCase } from "./matrix.ts";

/** A problem with the result of a case; the report counts the kinds. */
export interface Problem {
  readonly kind: "reach" | "code" | "notice" | "status" | "reuse" | "leak" | "error";
  readonly text: string;
}

/** Components without which the VM cannot run. */
const VITAL = ["guest", "qemu", "virtiofsd", "virtiofsd-worker", "vhost-device-vsock"];
/** The exit status after SIGKILL and after the loss of the VM. */
const KILLED = 137;

/** Returns whether the fault removes the pod's VM, so that all waiters must get an exit. */
export function takesVm({ component, how }: FaultCase): boolean {
  return how === "kill" && (component === "shim" || VITAL.includes(component));
}

/**
 * The acceptable codes of the call during which the fault occurs. NotFound is not acceptable if the client's
 * object exists: containerd treats it as the end of the object. containerd returns UNKNOWN if the shim's
 * connection closes.
 */
function honest({ component, how }: FaultCase, { what }: Call): readonly string[] {
  const ended = /^(kill|wait|delete)/.test(what) ? ["NOT_FOUND"] : [];
  switch (component) {
    case "launcher":
    case "shim":
      return ["UNAVAILABLE", "UNKNOWN", ...ended];
    case "containerd":
      return how === "kill" ? ["UNAVAILABLE", "CANCELLED"] : [];
    case "pod-localhost":
      return [];
    case "ledger":
      return ["RESOURCE_EXHAUSTED"];
    case "spawn":
      return ["RESOURCE_EXHAUSTED", "INTERNAL"];
    default:
      // A stopped component causes no error: the client has disconnected, or its deadline has expired.
      return how === "stop"
        ? ["CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", ...ended]
        : ["UNAVAILABLE", ...ended];
  }
}

/** Checks the answers that the client got. */
export function judge(fault: FaultCase, life: Life): Problem[] {
  const { fired } = life;
  const calls = life.calls.list;
  if (!fired) return [{ kind: "reach", text: `${fault.at} was not reached: ${firstFailure(calls)}` }];
  if (fault.how !== "error" && fired.pids.length === 0)
    return [{ kind: "reach", text: `there was no ${fault.component} at ${fault.at}` }];
  const problems: Problem[] = [];
  for (const call of calls) {
    if (call.code === "OK" || call.step === "cleanup") continue;
    const before = call.ended < fired.at;
    const after = call.begun > fired.at;
    // A later call, or one that has only just arrived, may find that the container has exited, or is gone
    // with its shim.
    const mayFindEnd = after || fault.at.startsWith("call:Task.");
    const codes = [
      ...(before ? [] : honest(fault, call)),
      ...(mayFindEnd && takesVm(fault) ? ["FAILED_PRECONDITION"] : []),
      ...(after && fault.component === "shim" ? ["NOT_FOUND"] : []),
    ];
    if (!codes.includes(call.code))
      problems.push({ kind: "code", text: `${call.what}: ${call.code}: ${call.message}` });
  }
  return problems;
}

/** Checks the exit statuses in Wait and in the events. */
export function judgeExits(fault: FaultCase, life: Life, events: (id: string) => string[]): Problem[] {
  if (!life.fired) return [];
  const problems: Problem[] = [];
  for (const id of life.created) {
    const exits = events(id).filter((event) => /^exit \d+$/.test(event));
    const statuses = [
      ...exits.map((event) => Number(event.slice("exit ".length))),
      ...life.waited.flatMap((one) => (one.id === id && one.status !== undefined ? [one.status] : [])),
    ];
    if (statuses.length === 0 && fault.component !== "containerd")
      problems.push({ kind: "notice", text: `no client was notified of the exit of ${id}` });
    for (const status of new Set(statuses))
      if (status !== KILLED) problems.push({ kind: "status", text: `${id} exited with ${status}` });
  }
  return problems;
}

/**
 * Returns the ms from the fault to the first failure or exit that it caused. undefined if there is nothing to
 * notice: a clone that does not come up is booted instead, and Create succeeds.
 */
export function noticedAfter(fault: FaultCase, life: Life): number | undefined {
  const { fired } = life;
  if (!fired || !takesVm(fault)) return undefined;
  const created = life.calls.list.some(
    ({ what, code, begun, ended }) =>
      what.startsWith("create") && code === "OK" && begun <= fired.at && fired.at <= ended,
  );
  const outlived =
    created && life.calls.list.some(({ what, code }) => what.startsWith("start") && code === "OK");
  if (outlived) return undefined;
  const times = [
    ...life.calls.list
      .filter(({ code, ended }) => code !== "OK" && ended >= fired.at)
      .map(({ ended }) => ended),
    ...life.waited.filter(({ at }) => at >= fired.at).map(({ at }) => at),
  ];
  return times.length === 0 ? undefined : Math.min(...times) - fired.at;
}

function firstFailure(calls: readonly Call[]): string {
  const failed = calls.find(({ code }) => code !== "OK");
  return failed ? `${failed.what}: ${failed.code}: ${failed.message}` : "every call was answered";
}
