import { pick, type Random } from "./random.ts";

/** Tokens that are special in JSON, protobuf, files of the kernel and terminals. */
const TOKENS = [
  "null",
  "true",
  "-1",
  "-0",
  "1e999",
  "4294967296",
  "18446744073709551616",
  "99999999999999999999999",
  "{}",
  "[]",
  '{"toString":1,"valueOf":1}',
  '"\\u0000"',
  '"__proto__"',
  '{"__proto__":{"polluted":1}}',
  '"constructor"',
  '"\\ud800"',
  "\n",
  "\n\n",
  "\r\n\r\n",
  "\0",
  "\u001b]0;x",
  "\u001b[2J",
  "\u202e",
  "\ufeff",
  "../",
  ":",
  ",",
  "=",
  " ",
  "max",
];

/** Boundary bytes of lengths, signs and UTF-8. */
const BYTES = [0, 1, 0x7f, 0x80, 0xc0, 0xe0, 0xed, 0xf0, 0xf4, 0xfe, 0xff];

/** Mutates inputs, staying close to what the code expects. */
export class Mutator {
  readonly #tokens: readonly Buffer[];

  constructor(
    readonly random: Random,
    tokens: readonly string[],
    readonly longest: number,
  ) {
    this.#tokens = [...TOKENS, ...tokens].map((token) => Buffer.from(token));
  }

  /** Returns `input` with one to six changes, mostly few; pieces may come from `other`. */
  mutate(input: Buffer, other: Buffer): Buffer {
    let result = input;
    for (let changes = 1 + this.random(1 + this.random(6)); changes > 0; changes--) {
      result = this.#change(result, other).subarray(0, this.longest);
    }
    return result;
  }

  #change(input: Buffer, other: Buffer): Buffer {
    const { random } = this;
    const at = random(input.length + 1);
    const [head, tail] = [input.subarray(0, at), input.subarray(at)];
    switch (random(9)) {
      case 0: // flip a bit
        return Buffer.concat([head, Buffer.of((tail[0] ?? 0) ^ (1 << random(8))), tail.subarray(1)]);
      case 1: // change a byte
        return Buffer.concat([
          head,
          Buffer.of(random(2) ? random(256) : pick(BYTES, random)),
          tail.subarray(random(2)),
        ]);
      case 2: // delete a piece
        return Buffer.concat([head, tail.subarray(1 + random(random(4) ? 8 : 64))]);
      case 3: // repeat a piece
        return Buffer.concat([
          head,
          ...Array<Buffer>(1 + random(4)).fill(tail.subarray(0, random(32))),
          tail,
        ]);
      case 4: // truncate, or swap both halves
        return random(4) ? Buffer.concat([tail, head]) : head;
      case 5: {
        // replace a part with a piece of another input
        const from = random(other.length);
        return Buffer.concat([head, other.subarray(from, from + random(64)), tail.subarray(random(64))]);
      }
      case 6: // change a number slightly
        return this.#digit(input);
      default: // insert a token here, or replace the value here with it
        return Buffer.concat([
          head,
          pick(this.#tokens, random),
          tail.subarray(random(2) ? valueAt(tail) : 0),
        ]);
    }
  }

  #digit(input: Buffer): Buffer {
    const digits = [...input.keys()].filter((at) => isDigit(input[at] ?? 0));
    if (digits.length === 0) return input;
    const result = Buffer.from(input);
    result[pick(digits, this.random)] = 0x30 + this.random(10);
    return result;
  }
}

const isDigit = (byte: number) => byte >= 0x30 && byte <= 0x39;

/**
 * Returns the length of the JSON value or word that starts here; without it, the rest remains well-formed.
 */
export function valueAt(tail: Buffer): number {
  return /^("[^"]*"|[\w.+-]+)/.exec(tail.subarray(0, 64).toString("latin1"))?.[0].length ?? 0;
}
