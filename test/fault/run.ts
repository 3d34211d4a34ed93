import { FAR_MS } from "./calls.ts";
import type { Inventory, Lane } from "./lane.ts";
import { Life } from "./life.ts";
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
  const tell = (kind: Problem["kind"]) => (error: unknown) =>
    void problems.push({ kind, text: String(error) });
  let noticedMs: number | undefined;
  try {
    const before = await lane.inventory();
    await life.live();
    noticedMs = noticedAfter(fault, life);
    await endTold(lane, fault, life);
    problems.push(...judge(fault, life));
    await life.administrator.remove().catch(tell("error"));
    problems.push(...judgeExits(fault, life, (id) => lane.events.of(id)));
    problems.push(...(await judgeRest(lane, fault, life, before)));
  } catch (error) {
    tell("reuse")(error);
  }
  await lane.installation.disarm(life.pod);
  const warnings = problems.length === 0 ? [] : await lane.warnings(life.id);
  const tookMs = Date.now() - begun;
  return { fault, problems, warnings, noticedMs, killMs: slowestKill(fault, life), tookMs };
}

/** containerd knows the task, and no other of its id, until the dead shim's `delete` is done: then it tells. */
async function endTold(lane: Lane, fault: FaultCase, life: Life): Promise<void> {
  const [id] = life.created;
  if (id === undefined || !life.fired || !(takesVm(fault) || fault.part === "shim")) return;
  await lane.events.until(id, /^exit \d+$/, EVENTS_MS).catch(() => undefined); // judgeExits tells it
}

/** Uses the id again and looks at what is left after that. */
async function judgeRest(lane: Lane, fault: FaultCase, life: Life, before: Inventory): Promise<Problem[]> {
  const left = async () =>
    (await lane.leftSince(before, FAR_MS)).map((text): Problem => ({ kind: "leak", text }));
  // containerd goes on with the call of a client that has gone away, and removes the bundle at its end by its path, which
  // would be the next pod's: the id is free when nothing is left. So it is where containerd itself goes in the middle of a
  // call: it finds the shim again, and knows the task until that has ended.
  const early = life.calls.gone || fault.part === "containerd" ? await left() : [];
  const status = await life.administrator.again(life.id);
  const reuse: Problem[] =
    status === 6 ? [] : [{ kind: "reuse", text: `the id's next container ended with ${status}` }];
  await life.administrator.remove();
  return [...early, ...reuse, ...(await left())];
}

function slowestKill({ how }: FaultCase, { calls }: Life): number | undefined {
  const kills = calls.list.filter(({ step, what }) => step === "clean-up" && what.startsWith("kill"));
  if (how !== "stop" || kills.length === 0) return undefined;
  return Math.max(...kills.map(({ begun, ended }) => ended - begun));
}
