import { Finding, tryOne } from "./fuzz.ts";
import { valueAt } from "./mutator.ts";
import { pick, type Random } from "./random.ts";
import type { Target } from "./target.ts";

/** Bytes of the longest input; linear work takes milliseconds. */
const LONG = 64 * 1024;
const SHORT = 2 * 1024;
/** CPU seconds above which growth is checked. */
const SLOW = 0.5;
/** Growth for twice the length above which it fails: 4 is quadratic, 8 is cubic. */
const STEEP = 3;

/** Returns an input of about this many bytes. */
type Growing = (length: number) => Buffer;

/**
 * Tries seeds in which a piece is repeated, or a value nested, many times: these show super-linear time in
 * patterns and loops, and stack overflows in recursion. `times` of them, for at most `seconds`.
 */
export async function pump(target: Target, times: number, seconds: number, random: Random): Promise<void> {
  const end = performance.now() + seconds * 1_000;
  for (let time = 0; time < times && performance.now() < end; time++) {
    const seed = Buffer.from(pick(target.seeds, random));
    const growing = random(4) ? repeated(target, seed, random) : nested(seed, random);
    if (growing) await double(target, growing);
  }
}

function repeated(target: Target, seed: Buffer, random: Random): Growing | undefined {
  const from = random(seed.length);
  const piece = random(4)
    ? seed.subarray(from, from + 1 + random(random(2) ? 4 : 24))
    : Buffer.from(pick(target.tokens ?? ["\n", " "], random));
  if (piece.length === 0) return undefined;
  const end = seed.subarray(random(2) ? from : seed.length);
  return (length) => Buffer.concat([seed.subarray(0, from), Buffer.alloc(length, piece), end]);
}

/** Replaces a JSON value with nested lists or objects. */
function nested(seed: Buffer, random: Random): Growing | undefined {
  const values = [...seed.keys()].filter((at) => ":[,".includes(String.fromCharCode(seed[at - 1] ?? 0)));
  if (values.length === 0) return undefined;
  const from = pick(values, random);
  const rest = seed.subarray(from + valueAt(seed.subarray(from)));
  const [open, close] = random(2) ? ["[", "]"] : ['{"a":', "}"];
  return (length) => {
    const depth = Math.floor(length / (open.length + close.length));
    return Buffer.concat([
      seed.subarray(0, from),
      Buffer.from(`${open.repeat(depth)}1${close.repeat(depth)}`),
      rest,
    ]);
  };
}

/**
 * Doubles the length up to the longest input, or until it gets slow. Throws if the time grows too steeply.
 */
async function double(target: Target, growing: Growing): Promise<void> {
  let before = 0;
  for (let length = SHORT; length <= LONG; length *= 2) {
    const input = growing(length);
    const isSteep = (seconds: number) => seconds >= SLOW && seconds / before > STEEP;
    let seconds = await secondsOf(target, input);
    // One run may hold the work of the garbage collector for all before it.
    for (let again = 0; again < 3 && isSteep(seconds); again++)
      seconds = Math.min(seconds, await secondsOf(target, input));
    if (isSteep(seconds)) {
      const growth = `${length / 2} bytes take ${before.toFixed(2)} s and ${length} take ${seconds.toFixed(2)} s`;
      throw new Finding(target.name, input, new Error(growth));
    }
    if (seconds >= SLOW * 4) return;
    before = seconds;
  }
}

/** Resolves with CPU time, so that a busy machine causes no finding. */
async function secondsOf(target: Target, input: Buffer): Promise<number> {
  const begin = process.cpuUsage();
  await tryOne(target, input);
  const { user, system } = process.cpuUsage(begin);
  return (user + system) / 1e6;
}
