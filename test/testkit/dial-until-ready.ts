import type { Socket } from "node:net";
import type { Deadline } from "../../src/core/deadline.ts";
import { HullError } from "../../src/core/errors.ts";
import { Dial } from "../../src/vsock/hybrid.ts";

interface DialPace {
  /** How long to wait before the second attempt. */
  readonly firstMs: number;
  /** The interval grows by this factor ... */
  readonly factor: number;
  /** ... up to this. */
  readonly longestMs: number;
}

/**
 * The interval grows with the time that has passed: the guest waits at most 3 % of its boot time for the next
 * attempt (and a clone 50 ms), while a boot of half a minute leaves at most a hundred connections open.
 */
const PACE: DialPace = { firstMs: 50, factor: 1.03, longestMs: 1000 };

/**
 * Dials a guest port until it answers: the first OK shows that the guest is up. Unanswered attempts stay
 * open, since each may still be answered and closing one before that crashes the daemon (README.md); the
 * first attempt that is answered wins. Rejects with DeadlineExceeded, with the last failure.
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
      // A failed attempt does not shorten the interval.
      const first = await deadline.race(firstWithin(winners, wait));
      if (first) {
        winner = first.one;
        return first.socket;
      }
      wait = Math.min(wait * pace.factor, pace.longestMs);
    }
  } catch (thrown) {
    const cause = lastFailure ? `; last attempt: ${lastFailure.message}` : "; no attempt was answered";
    const error = HullError.from(thrown);
    throw new HullError(error.code, `guest port ${port}: ${error.message}${cause}`, { cause: thrown });
  } finally {
    // The guest answers in order: unanswered attempts older than the winner are lost.
    const age = winner ? open.indexOf(winner) : -1;
    open.forEach((dial, index) => {
      if (dial === winner) return;
      if (index < age) dial.close();
      else dial.abandon();
    });
  }
}

/** Resolves with the first of `promises` that succeeds within `ms`, or undefined. */
async function firstWithin<T>(promises: Promise<T>[], ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  // If all fail, still wait for the rest of the interval.
  const first = Promise.any(promises).catch(() => late);
  try {
    return await Promise.race([first, late]);
  } finally {
    clearTimeout(timer);
  }
}
