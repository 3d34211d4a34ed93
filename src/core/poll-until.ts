import type { Deadline } from "./deadline.ts";

const FIRST_LOOK_MS = 1;
const LONGEST_LOOK_MS = 50;

/**
 * Looks until a condition holds that nothing tells of, at once and then less and less often. Rejects as the deadline does
 * when that is over first.
 */
export async function pollUntil(holds: () => boolean | Promise<boolean>, deadline: Deadline): Promise<void> {
  for (let wait = FIRST_LOOK_MS; !(await holds()); wait = Math.min(2 * wait, LONGEST_LOOK_MS)) {
    deadline.check();
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}
