import assert from "node:assert/strict";
import { test } from "node:test";
import { HullError } from "../core/errors.ts";
import { StateMachine } from "../core/state-machine.ts";
import { PROCESS_TRANSITIONS, type ProcessState } from "./process.ts";

const STATES = Object.keys(PROCESS_TRANSITIONS) as ProcessState[];

/** Every allowed pair, repeated here so that the table is not changed by mistake. */
const ALLOWED = new Set([
  "created running",
  "created stopped",
  "created deleted",
  "running pausing",
  "running stopped",
  "pausing paused",
  "pausing running",
  "pausing stopped",
  "paused running",
  "paused stopped",
  "stopped deleted",
]);

for (const from of STATES) {
  for (const to of STATES) {
    const allowed = ALLOWED.has(`${from} ${to}`);
    test(`process: ${from} -> ${to} is ${allowed ? "allowed" : "refused"}`, () => {
      const machine = new StateMachine("container c1", PROCESS_TRANSITIONS, from);
      if (allowed) {
        machine.transition(to);
        assert.equal(machine.state, to);
        return;
      }
      assert.throws(
        () => machine.transition(to),
        (error: unknown) =>
          error instanceof HullError &&
          error.code === "FailedPrecondition" &&
          error.message === `container c1: cannot go from ${from} to ${to}`,
      );
      assert.equal(machine.state, from);
    });
  }
}
