import type { Call } from "./calls.ts";
import type { Life } from "./life.ts";
import type { FaultCase } from "./matrix.ts";

/** What is wrong with what a case has come to; the kinds are counted in the report. */
export interface Problem {
  readonly kind: "reach" | "code" | "notice" | "status" | "reuse" | "leak" | "error";
  readonly text: string;
}

/** Parts without which the VM cannot go on. */
const VITAL = ["guest", "qemu", "virtiofsd", "virtiofsd-worker", "vhost-device-vsock"];
/** What SIGKILL and the loss of the VM both end a container with. */
const KILLED = 137;

/** Whether the fault takes the pod's VM away, so that whoever waits for its containers must be told. */
export function takesVm({ part, how }: FaultCase): boolean {
  return how === "kill" && (part === "shim" || VITAL.includes(part));
}

/**
 * Codes of the call that the fault meets. NotFound is none of them where the client's object exists: containerd takes it
 * for the end of the object. UNKNOWN is what containerd makes of a shim whose connection ends.
 */
function honest({ part, how }: FaultCase, { what }: Call): readonly string[] {
  const ended = /^(kill|wait|delete)/.test(what) ? ["NOT_FOUND"] : [];
  switch (part) {
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
      // A stopped part fails nothing: the client has gone away, or its time is over.
      return how === "stop"
        ? ["CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", ...ended]
        : ["UNAVAILABLE", ...ended];
  }
}

/** Looks at what the client was told. */
export function judge(fault: FaultCase, life: Life): Problem[] {
  const { fired } = life;
  const calls = life.calls.list;
  if (!fired) return [{ kind: "reach", text: `${fault.at} was not reached: ${told(calls)}` }];
  if (fault.how !== "error" && fired.pids.length === 0)
    return [{ kind: "reach", text: `there was no ${fault.part} at ${fault.at}` }];
  const problems: Problem[] = [];
  for (const call of calls) {
    if (call.code === "OK" || call.step === "clean-up") continue;
    const before = call.ended < fired.at;
    const after = call.begun > fired.at;
    // What comes after it, or has got no further than its arrival, may find that the container has ended, or is gone
    // with its shim.
    const mayFindEnd = after || fault.at.startsWith("call:Task.");
    const codes = [
      ...(before ? [] : honest(fault, call)),
      ...(mayFindEnd && takesVm(fault) ? ["FAILED_PRECONDITION"] : []),
      ...(after && fault.part === "shim" ? ["NOT_FOUND"] : []),
    ];
    if (!codes.includes(call.code))
      problems.push({ kind: "code", text: `${call.what}: ${call.code}: ${call.message}` });
  }
  return problems;
}

/** Looks at what the containers ended with, by those who waited and by the events. */
export function judgeExits(fault: FaultCase, life: Life, events: (id: string) => string[]): Problem[] {
  if (!life.fired) return [];
  const problems: Problem[] = [];
  for (const id of life.created) {
    const exits = events(id).filter((event) => /^exit \d+$/.test(event));
    const statuses = [
      ...exits.map((event) => Number(event.slice("exit ".length))),
      ...life.waited.flatMap((one) => (one.id === id && one.status !== undefined ? [one.status] : [])),
    ];
    if (statuses.length === 0 && fault.part !== "containerd")
      problems.push({ kind: "notice", text: `nobody was told that ${id} has ended` });
    for (const status of new Set(statuses))
      if (status !== KILLED) problems.push({ kind: "status", text: `${id} ended with ${status}` });
  }
  return problems;
}

/**
 * How long it took until somebody knew: ms from the fault to the first failure or exit that came of it. Undefined where
 * there is nothing to know: a clone that does not come up is booted instead, and Create answers as ever.
 */
export function noticedAfter(fault: FaultCase, life: Life): number | undefined {
  const { fired } = life;
  if (!fired || !takesVm(fault)) return undefined;
  const made = life.calls.list.some(
    ({ what, code, begun, ended }) =>
      what.startsWith("create") && code === "OK" && begun <= fired.at && fired.at <= ended,
  );
  const outlived =
    made && life.calls.list.some(({ what, code }) => what.startsWith("start") && code === "OK");
  if (outlived) return undefined;
  const times = [
    ...life.calls.list
      .filter(({ code, ended }) => code !== "OK" && ended >= fired.at)
      .map(({ ended }) => ended),
    ...life.waited.filter(({ at }) => at >= fired.at).map(({ at }) => at),
  ];
  return times.length === 0 ? undefined : Math.min(...times) - fired.at;
}

function told(calls: readonly Call[]): string {
  const failed = calls.find(({ code }) => code !== "OK");
  return failed ? `${failed.what}: ${failed.code}: ${failed.message}` : "every call was answered";
}
