import { afterEach } from "node:test";
import { Deadline } from "../../src/core/deadline.ts";

const made = new Set<Deadline>();

afterEach(() => {
  for (const deadline of made) deadline.dispose();
  made.clear();
});

/** Returns a deadline that is disposed of after the test: a pending timer would delay the end of the run. */
export function within(ms: number, what?: string): Deadline {
  const deadline = Deadline.after(ms, what);
  made.add(deadline);
  return deadline;
}
