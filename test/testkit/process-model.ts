import fc from "fast-check";
import type { ErrorCode } from "../../src/core/errors.ts";
import type { ProcessState } from "../../src/pod/process.ts";

/** The reference model of containers and execs: the expected result of every call. */

/** A call, or an action of a program. `e` is the exec id, empty for init. */
export type Op =
  | { readonly op: "create" | "delete" | "pause" | "resume" | "end"; readonly c: string }
  | {
      readonly op: "start" | "kill" | "exec" | "end-exec" | "delete-exec";
      readonly c: string;
      readonly e: string;
    };

const CONTAINERS = ["c1", "c2"];
const EXECS = ["", "e1", "e2"];
export const opArbitrary: fc.Arbitrary<Op> = fc.oneof(
  fc.record({
    op: fc.constantFrom("create", "delete", "pause", "resume", "end" as const),
    c: fc.constantFrom(...CONTAINERS),
  }) as fc.Arbitrary<Op>,
  fc.record({
    op: fc.constantFrom("start", "kill", "exec", "end-exec", "delete-exec" as const),
    c: fc.constantFrom(...CONTAINERS),
    e: fc.constantFrom(...EXECS),
  }) as fc.Arbitrary<Op>,
);

export interface ModelContainer {
  state: ProcessState;
  execs: Map<string, ProcessState>;
}

/** Returns the expected result of a call, its error class or "OK", and updates the model. */
export function expected(model: Map<string, ModelContainer>, op: Op): ErrorCode | "OK" {
  const container = model.get(op.c);
  if (op.op === "create") {
    if (container) return "AlreadyExists";
    model.set(op.c, { state: "created", execs: new Map() });
    return "OK";
  }
  if (!container) return "NotFound";
  const stop = () => {
    for (const [id, state] of container.execs) if (state === "running") container.execs.set(id, "stopped");
    container.state = "stopped";
  };
  const exec = "e" in op && op.e !== "" ? container.execs.get(op.e) : undefined;
  switch (op.op) {
    case "delete":
      if (!["created", "stopped"].includes(container.state)) return "FailedPrecondition";
      model.delete(op.c);
      return "OK";
    case "pause":
      if (container.state !== "running") return "FailedPrecondition";
      container.state = "paused";
      return "OK";
    case "resume":
      if (container.state !== "paused") return "FailedPrecondition";
      container.state = "running";
      return "OK";
    case "end":
      if (["created", "stopped"].includes(container.state)) return "NotFound";
      stop();
      return "OK";
    case "start":
      if (op.e === "") {
        if (container.state !== "created") return "FailedPrecondition";
        container.state = "running";
        return "OK";
      }
      if (!exec) return "NotFound";
      if (container.state !== "running" || exec !== "created") return "FailedPrecondition";
      container.execs.set(op.e, "running");
      return "OK";
    case "kill":
      if (op.e === "") {
        if (container.state === "stopped") return "NotFound";
        stop();
        return "OK";
      }
      if (!exec) return "NotFound";
      if (exec === "created") return "FailedPrecondition";
      if (exec === "stopped") return "NotFound";
      container.execs.set(op.e, "stopped");
      return "OK";
    case "exec":
      if (op.e === "") return "OK";
      if (container.state !== "running") return "FailedPrecondition";
      if (exec) return "AlreadyExists";
      container.execs.set(op.e, "created");
      return "OK";
    case "end-exec":
      if (op.e === "" || exec !== "running") return "NotFound";
      container.execs.set(op.e, "stopped");
      return "OK";
    case "delete-exec":
      if (op.e === "" || !exec) return "NotFound";
      if (exec === "running") return "FailedPrecondition";
      container.execs.delete(op.e);
      return "OK";
  }
}

/** Returns the state of every process, by `container/exec`. */
export function modelStates(model: Map<string, ModelContainer>): Record<string, string> {
  const states: Record<string, string> = {};
  for (const [id, { state, execs }] of model) {
    states[`${id}/`] = state;
    // The execs of a paused container are paused, too.
    for (const [exec, own] of execs)
      states[`${id}/${exec}`] = own === "running" && state === "paused" ? "paused" : own;
  }
  return states;
}
