import type { Coverage } from "./coverage.ts";
import { Mutator } from "./mutator.ts";
import { pick, type Random, randomOf } from "./random.ts";
import { LONGEST, type Target } from "./target.ts";

/** How long to go on: until one of both is reached, but never below `least` inputs. */
export interface Limits {
  readonly inputs: number;
  readonly seconds: number;
  readonly least: number;
}

export interface Outcome {
  readonly inputs: number;
  readonly taken: number;
  readonly refused: number;
  /** Inputs that were kept, as each came to a place that none had come to. */
  readonly kept: number;
  readonly places: number;
  readonly seconds: number;
}

/** What does not hold, with the input that shows it. */
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

/** An async target lets the loop turn by itself; after this many inputs of one that is not, it is let turn. */
const TURN = 1_000;

/** Tries inputs, made of the seeds and of what came to new places. Throws a Finding. */
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
  let taken = 0;
  let refused = 0;
  coverage.clear();
  for (const one of corpus) await tryOne(target, one);
  coverage.isNew();
  const seconds = () => (performance.now() - begin) / 1_000;
  const goesOn = (done: number) => {
    if (done < limits.least) return true;
    return done < limits.inputs && (done % 16 !== 0 || seconds() < limits.seconds);
  };
  for (let done = 0; goesOn(done); done++) {
    const input = mutator.mutate(parentOf(corpus, random), pick(corpus, random));
    if (await tryOne(target, input)) taken++;
    else refused++;
    if (coverage.isNew()) corpus.push(input);
    if (done % TURN === 0) await new Promise(setImmediate);
  }
  return {
    inputs: taken + refused,
    ...{ taken, refused },
    kept: corpus.length - target.seeds.length,
    places: coverage.places,
    seconds: seconds(),
  };
}

/** Half of the time one of the last that were kept: they lead on. */
function parentOf(corpus: readonly Buffer[], random: Random): Buffer {
  return random(2) ? pick(corpus, random) : pick(corpus.slice(-8), random);
}

let last: Buffer = Buffer.alloc(0);

/** `work`, and a Finding for what nobody catches meanwhile: what is thrown in a socket's handler would end a shim. */
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

/** Runs one input and sees that it left every object's prototype as it is. */
export async function tryOne(target: Target, input: Buffer): Promise<boolean> {
  last = input;
  try {
    const answer = target.run(input);
    const taken = typeof answer === "boolean" ? answer : await answer;
    for (const prototype of [Object.prototype, Array.prototype]) {
      if (Object.keys(prototype).length > 0)
        throw new Error(`a prototype was given ${Object.keys(prototype)}`);
    }
    return taken;
  } catch (thrown) {
    throw new Finding(target.name, input, thrown);
  }
}
