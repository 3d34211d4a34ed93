import { Finding, tryOne } from "./fuzz.ts";
import { pick, type Random } from "./random.ts";
import type { Target } from "./target.ts";

/** Bytes of the longest input; work that is linear is done in milliseconds. */
const LONG = 64 * 1024;
const SHORT = 2 * 1024;
/** Seconds of the processor from which on it is looked at whether the time grows with the square. */
const SLOW = 0.5;
/** Twice the length takes four times as long where it does, and eight with the cube. */
const STEEP = 3;

/**
 * Tries seeds in which a piece is repeated many times: a pattern or a loop that looks back takes for ever with one of them.
 * `times` of them, for `seconds` at most.
 */
export async function pump(target: Target, times: number, seconds: number, random: Random): Promise<void> {
  const end = performance.now() + seconds * 1_000;
  for (let time = 0; time < times && performance.now() < end; time++) {
    const seed = Buffer.from(pick(target.seeds, random));
    const from = random(seed.length);
    const piece = random(4)
      ? seed.subarray(from, from + 1 + random(random(2) ? 4 : 24))
      : Buffer.from(pick(target.tokens ?? ["\n", " "], random));
    if (piece.length === 0) continue;
    const end = seed.subarray(random(2) ? from : seed.length);
    const pumped = (length: number) =>
      Buffer.concat([seed.subarray(0, from), Buffer.alloc(length, piece), end]);
    await double(target, pumped, `${piece}`);
  }
}

/** Doubles the length up to the longest input, or until it takes long. Throws where it takes too long by then. */
async function double(target: Target, pumped: (length: number) => Buffer, piece: string): Promise<void> {
  let before = 0;
  for (let length = SHORT; length <= LONG; length *= 2) {
    const input = pumped(length);
    const seconds = await secondsOf(target, input);
    if (seconds >= SLOW && seconds / before > STEEP) {
      const growth = `${length / 2} bytes take ${before.toFixed(2)} s and ${length} take ${seconds.toFixed(2)} s`;
      throw new Finding(
        target.name,
        input,
        new Error(`${growth}, where ${JSON.stringify(piece)} is repeated`),
      );
    }
    if (seconds >= SLOW * 4) return;
    before = seconds;
  }
}

/** Of the processor's time: a busy machine is no finding. */
async function secondsOf(target: Target, input: Buffer): Promise<number> {
  const begin = process.cpuUsage();
  await tryOne(target, input);
  const { user, system } = process.cpuUsage(begin);
  return (user + system) / 1e6;
}
