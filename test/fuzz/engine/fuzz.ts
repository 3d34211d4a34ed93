import type { Coverage } from "./coverage.ts";
import { Mutator } from "./mutator.ts";
import { pick, type Random, randomOf } from "./random.ts";
import { LONGEST, type Target } from "./target.ts";

/** How long to continue: until either limit is reached, but at least `least` inputs. */
export interface Limits {
  readonly inputs: number;
  readonly seconds: number;
  readonly least: number;
}

export interface Outcome {
  readonly inputs: number;
  readonly accepted: number;
  readonly refused: number;
  /** The number of inputs kept because each reached a new place. */
  readonly kept: number;
  readonly places: number;
  readonly seconds: number;
}

/** A failure, with the input that causes it. */
export class Finding extends Error {
  override readonly name = "Finding";

  constructor(
    readonly target: string,
    readonly input: Buffer,
    cause: unknown,
  ) {
    const start = JSON.stringify(input.toString("latin1", 0, 400));
    const text = input.length > 400 ? `${input.length} bytes, ${start}...` : start;
    super(`${target}: ${cause instanceof Error ? cause.message : String(cause)}: with ${text}`, { cause });
  }
}

/** Inputs after which a synchronous target yields to the event loop; an async one does so by itself. */
const TURN = 1_000;

/** Tries inputs derived from the seeds and from inputs that reached new places. Rejects with a Finding. */
export async function fuzz(
  target: Target,
  coverage: Coverage,
  limits: Limits,
  seed: number,
): Promise<Outcome> {
  const begin = performance.now();
  const random = randomOf(seed);
  const mutator = new Mutator(random, target.tokens ?? [], target.longest ?? LONGEST);
  const corpus: Buffer[] = target.seeds.map((one) => Buffer.from(one));
  let accepted = 0;
  let refused = 0;
  coverage.clear();
  for (const one of corpus) await tryOne(target, one);
  coverage.isNew();
  const seconds = () => (performance.now() - begin) / 1_000;
  const mayContinue = (done: number) => {
    if (done < limits.least) return true;
    return done < limits.inputs && (done % 16 !== 0 || seconds() < limits.seconds);
  };
  for (let done = 0; mayContinue(done); done++) {
    const input = mutator.mutate(parentOf(corpus, random), pick(corpus, random));
    if (await tryOne(target, input)) accepted++;
    else refused++;
    if (coverage.isNew()) corpus.push(input);
    if (done % TURN === 0) await new Promise(setImmediate);
  }
  return {
    inputs: accepted + refused,
    ...{ accepted, refused },
    kept: corpus.length - target.seeds.length,
    places: coverage.places,
    seconds: seconds(),
  };
}

/** Half of the time one of the last kept inputs, which are the most promising. */
function parentOf(corpus: readonly Buffer[], random: Random): Buffer {
  return random(2) ? pick(corpus, random) : pick(corpus.slice(-8), random);
}

let last: Buffer = Buffer.alloc(0);

/**
 * Awaits `work`; rejects with a Finding for uncaught errors meanwhile, since one in a socket's handler would
 * kill a shim.
 */
export async function catching<T>(target: string, work: Promise<T>): Promise<T> {
  let onLost: (error: unknown) => void = () => undefined;
  const lost = new Promise<never>((_, reject) => {
    onLost = (error) => reject(new Finding(target, last, error));
  });
  process.on("uncaughtException", onLost);
  try {
    return await Promise.race([work, lost]);
  } finally {
    process.off("uncaughtException", onLost);
  }
}

/** Runs an input and checks that it has not changed Object.prototype. */
export async function tryOne(target: Target, input: Buffer): Promise<boolean> {
  last = input;
  try {
    const answer = target.run(input);
    const accepted = typeof answer === "boolean" ? answer : await answer;
    for (const prototype of [Object.prototype, Array.prototype]) {
      if (Object.keys(prototype).length > 0)
        throw new Error(`a prototype was given ${Object.keys(prototype)}`);
    }
    return accepted;
  } catch (thrown) {
    throw new Finding(target.name, input, thrown);
  }
}
