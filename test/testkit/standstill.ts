/** Turns of the event loop within which a chain of promises and `setImmediate`s makes progress, if at all. */
const TURNS = 10;
const MOST_TURNS = 2_000;

/** Runs the event loop until `progress` stops changing: what runs in memory is then waiting for something. */
export async function standstill(progress: () => number): Promise<number> {
  let last = progress();
  for (let turn = 0, still = 0; still < TURNS; turn++, still++) {
    if (turn === MOST_TURNS) throw new Error(`still in progress after ${MOST_TURNS} turns: ${last}`);
    await new Promise(setImmediate);
    if (progress() !== last) still = 0;
    last = progress();
  }
  return last;
}
