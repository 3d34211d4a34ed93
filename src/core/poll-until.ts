import type { Deadline } from "./deadline.ts";

const FIRST_LOOK_MS = 1;
const LONGEST_LOOK_MS = 50;

/**
 * Polls until a condition holds for which there is no notification: immediately, then after 1 ms to 50 ms.
 * Rejects with the deadline's reason if that ends first.
 */
export async function pollUntil(holds: () => boolean | Promise<boolean>, deadline: Deadline): Promise<void> {
  for (let wait = FIRST_LOOK_MS; !(await holds()); wait = Math.min(2 * wait, LONGEST_LOOK_MS)) {
    deadline.check();
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}
