import { afterEach } from "node:test";
import { Deadline } from "../../src/core/deadline.ts";

const made = new Set<Deadline>();

afterEach(() => {
  for (const deadline of made) deadline.dispose();
  made.clear();
});

/** A deadline that is freed after the test: a timer that goes on would hold up the end of the run. */
export function within(ms: number, what?: string): Deadline {
  const deadline = Deadline.after(ms, what);
  made.add(deadline);
  return deadline;
}
