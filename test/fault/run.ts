import type { Lane } from "./lane.ts";
import { FAR_MS, Life } from "./life.ts";
import type { FaultCase } from "./matrix.ts";
import { judge, judgeExits, noticedAfter, type Problem, takesVm } from "./verdict.ts";

/** What became of a case. */
export interface Result {
  readonly fault: FaultCase;
  readonly problems: readonly Problem[];
  /** What the logs say of it, where there are problems. */
  readonly warnings: readonly string[];
  /** Milliseconds until somebody was told, where the fault takes the VM away. */
  readonly noticedMs: number | undefined;
  /** The longest that a SIGKILL took in a pod with a part that hangs. */
  readonly killMs: number | undefined;
  readonly tookMs: number;
}

/** What ends a container that is known to end, with a shim that is killed: events come behind the answers. */
const EVENTS_MS = 10_000;

/** Runs one case in a lane that is free. Never rejects. */
export async function runCase(lane: Lane, fault: FaultCase): Promise<Result> {
  const begun = Date.now();
  const life = new Life(lane, fault, lane.id());
  const problems: Problem[] = [];
  const tell = (kind: Problem["kind"], error: unknown) =>
    problems.push({ kind, text: error instanceof Error ? error.message : String(error) });
  let noticedMs: number | undefined;
  try {
    const before = await lane.inventory();
    await life.live();
    noticedMs = noticedAfter(fault, life);
    // containerd knows the task, and no other of its id, until the shim's `delete` is done: then it tells.
    if ((takesVm(fault) || fault.part === "shim") && life.fired && life.created.length > 0)
      await lane.events.until(life.created[0] ?? "", /^exit \d+$/, EVENTS_MS).catch(() => undefined); // judged below
    problems.push(...judge(fault, life));
    await life.remove().catch((error: unknown) => tell("error", error));
    problems.push(...judgeExits(fault, life, (id) => lane.events.of(id)));
    const status = await life.again();
    if (status !== 6) problems.push({ kind: "reuse", text: `the id's next container ended with ${status}` });
    await life.remove();
    problems.push(...(await lane.leftSince(before, FAR_MS)).map((text): Problem => ({ kind: "leak", text })));
  } catch (error) {
    tell("reuse", error);
  }
  await lane.installation.disarm(life.pod);
  const warnings = problems.length === 0 ? [] : await lane.warnings(life.id);
  return {
    fault,
    problems,
    warnings,
    noticedMs,
    killMs: slowestKill(fault, life),
    tookMs: Date.now() - begun,
  };
}

function slowestKill({ how }: FaultCase, { calls }: Life): number | undefined {
  const kills = calls.filter(({ step, what }) => step === "clean-up" && what.startsWith("kill"));
  if (how !== "stop" || kills.length === 0) return undefined;
  return Math.max(...kills.map(({ begun, ended }) => ended - begun));
}
