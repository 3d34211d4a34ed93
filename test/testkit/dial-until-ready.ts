import type { Socket } from "node:net";
import type { Deadline } from "../../src/core/deadline.ts";
import { HullError } from "../../src/core/errors.ts";
import { Dial } from "../../src/vsock/hybrid.ts";

interface DialPace {
  /** How long a try is waited for before the next one is made. */
  readonly firstMs: number;
  /** Tries get longer by this factor ... */
  readonly factor: number;
  /** ... up to this. */
  readonly longestMs: number;
}

/**
 * Tries become rarer by the time that has passed: the guest waits 3 % of its boot at most for the next one (and a
 * clone that is there at once 50 ms), while a boot of half a minute leaves no more than a hundred open.
 */
const PACE: DialPace = { firstMs: 50, factor: 1.03, longestMs: 1000 };

/**
 * Dials a guest port until somebody answers: the first OK is the sign that the guest is up. Tries that got no answer
 * are left open, since each may still be answered and closing one before that breaks the daemon (README.md); the
 * first answered try wins, whichever it is. Rejects with DeadlineExceeded that tells the last failure.
 */
export async function dialUntilReady(
  path: string,
  port: number,
  deadline: Deadline,
  pace: DialPace = PACE,
): Promise<Socket> {
  const open: Dial[] = [];
  let lastFailure: HullError | undefined;
  let winner: Dial | undefined;
  let wait = pace.firstMs;
  try {
    while (true) {
      deadline.check();
      const dial = new Dial(path, port);
      open.push(dial);
      dial.answered.catch((error: HullError) => {
        lastFailure = error;
        open.splice(open.indexOf(dial), 1);
      });
      const winners = open.map((one) => one.answered.then((socket) => ({ one, socket })));
      // A try that failed is not a reason to hurry: the next one comes when its time has come.
      const first = await deadline.race(firstWithin(winners, wait));
      if (first) {
        winner = first.one;
        return first.socket;
      }
      wait = Math.min(wait * pace.factor, pace.longestMs);
    }
  } catch (thrown) {
    const cause = lastFailure ? `; last attempt: ${lastFailure.message}` : "; no try was answered";
    const error = HullError.from(thrown);
    throw new HullError(error.code, `guest port ${port}: ${error.message}${cause}`, { cause: thrown });
  } finally {
    // The guest answers in order: what is older than the winner and unanswered was lost and never will be answered.
    const age = winner ? open.indexOf(winner) : -1;
    open.forEach((dial, index) => {
      if (dial === winner) return;
      if (index < age) dial.close();
      else dial.abandon();
    });
  }
}

/** The first of `promises` that succeeds within `ms`; undefined when none does. */
async function firstWithin<T>(promises: Promise<T>[], ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  // When all fail there is nothing to win, but the time until the next try is kept.
  const first = Promise.any(promises).catch(() => late);
  try {
    return await Promise.race([first, late]);
  } finally {
    clearTimeout(timer);
  }
}
