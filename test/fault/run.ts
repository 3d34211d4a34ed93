import { FAR_MS } from "./calls.ts";
import type { Inventory, Lane } from "./lane.ts";
import { Life } from "./life.ts";
import type { FaultCase } from "./matrix.ts";
import { judge, judgeExits, noticedAfter, type Problem, takesVm } from "./verdict.ts";

/** The result of a case. */
export interface Result {
  readonly fault: FaultCase;
  readonly problems: readonly Problem[];
  /** Related log lines, if there are problems. */
  readonly warnings: readonly string[];
  /** Milliseconds until a client noticed, if the fault removes the VM. */
  readonly noticedMs: number | undefined;
  /** The longest time that SIGKILL took in a pod with a hanging component. */
  readonly killMs: number | undefined;
  readonly tookMs: number;
}

/** How long the exit event may take after a shim has been killed: events come after the answers. */
const EVENTS_MS = 10_000;

/** Runs a case in a free lane. Never rejects. */
export async function runCase(lane: Lane, fault: FaultCase): Promise<Result> {
  const begun = Date.now();
  const life = new Life(lane, fault, lane.id());
  const problems: Problem[] = [];
  const report = (kind: Problem["kind"]) => (error: unknown) =>
    void problems.push({ kind, text: String(error) });
  let noticedMs: number | undefined;
  try {
    const before = await lane.inventory();
    await life.live();
    noticedMs = noticedAfter(fault, life);
    await awaitExitEvent(lane, fault, life);
    problems.push(...judge(fault, life));
    await life.administrator.remove().catch(report("error"));
    problems.push(...judgeExits(fault, life, (id) => lane.events.of(id)));
    problems.push(...(await judgeRest(lane, fault, life, before)));
  } catch (error) {
    report("reuse")(error);
  }
  await lane.installation.disarm(life.pod);
  const warnings = problems.length === 0 ? [] : await lane.warnings(life.id);
  const tookMs = Date.now() - begun;
  return { fault, problems, warnings, noticedMs, killMs: slowestKill(fault, life), tookMs };
}

/**
 * Waits for the exit event: containerd keeps the task, and its id, until the dead shim's `delete` has
 * finished.
 */
async function awaitExitEvent(lane: Lane, fault: FaultCase, life: Life): Promise<void> {
  const [id] = life.created;
  if (id === undefined || !life.fired || !(takesVm(fault) || fault.component === "shim")) return;
  await lane.events.until(id, /^exit \d+$/, EVENTS_MS).catch(() => undefined); // judgeExits reports it
}

/** Reuses the id and checks what is left after that. */
async function judgeRest(lane: Lane, fault: FaultCase, life: Life, before: Inventory): Promise<Problem[]> {
  const left = async () =>
    (await lane.leftSince(before, FAR_MS)).map((text): Problem => ({ kind: "leak", text }));
  // containerd continues the call of a disconnected client, and then removes the bundle by its path, which
  // would be the next pod's: the id is free only when nothing is left. The same holds if containerd itself is
  // killed during a call: it finds the shim again, and knows the task until that has exited.
  const early = life.calls.disconnected || fault.component === "containerd" ? await left() : [];
  const status = await life.administrator.reuse(life.id);
  const reuse: Problem[] =
    status === 6 ? [] : [{ kind: "reuse", text: `the id's next container exited with ${status}` }];
  await life.administrator.remove();
  return [...early, ...reuse, ...(await left())];
}

function slowestKill({ how }: FaultCase, { calls }: Life): number | undefined {
  const kills = calls.list.filter(({ step, what }) => step === "cleanup" && what.startsWith("kill"));
  if (how !== "stop" || kills.length === 0) return undefined;
  return Math.max(...kills.map(({ begun, ended }) => ended - begun));
}
