import fc from "fast-check";

/** How many inputs each fuzzer tries: HULL_FUZZ_RUNS=1000000. fast-check prints the seed of a run that fails. */
export const numRuns = Number(process.env.HULL_FUZZ_RUNS ?? 1_000);

/** One change of a text or of bytes; positions are taken modulo the length. */
export interface Mutation {
  readonly at: number;
  readonly byte: number;
  readonly how: "set" | "drop" | "double" | "cut" | "token";
}

/** What JSON, the kernel's texts and terminals read in a way of their own. */
const TOKENS = [
  "null",
  "true",
  "-1",
  "1e999",
  "99999999999999999999999",
  "{}",
  "[]",
  '{"toString":1,"valueOf":1}',
  '"\\u0000"',
  '"__proto__"',
  '"\\ud800"',
  "\n",
  "\r\n\r\n",
  "\0",
  "\u001b]0;x",
  "\u001b[2J",
  "\u202e",
  ":",
  ",",
  "max",
  "=",
] as const;

/** A few changes: closer to the code than random bytes. */
export const mutations: fc.Arbitrary<Mutation[]> = fc.array(
  fc.record({
    at: fc.nat(),
    byte: fc.nat(255),
    how: fc.constantFrom("set", "drop", "double", "cut", "token"),
  }),
  { minLength: 1, maxLength: 6 },
);

/** `bytes` with the changes made one after another. */
export function mutate(bytes: Uint8Array, list: readonly Mutation[]): Buffer {
  let result = Buffer.from(bytes);
  for (const { at, byte, how } of list) {
    const index = at % Math.max(1, result.length);
    const [head, tail] = [result.subarray(0, index), result.subarray(index)];
    if (how === "set") result = Buffer.concat([head, Buffer.of(byte), tail.subarray(1)]);
    else if (how === "drop") result = Buffer.concat([head, tail.subarray(1 + (byte % 8))]);
    else if (how === "double") result = Buffer.concat([head, tail.subarray(0, byte), tail]);
    else if (how === "token")
      result = Buffer.concat([head, Buffer.from(tokenOf(byte)), afterValue(tail, byte)]);
    else result = head;
  }
  return result;
}

const tokenOf = (byte: number) => TOKENS[byte % TOKENS.length] ?? "";

/** Half of the time a token takes the place of the JSON value that begins here, so that the rest stays readable. */
function afterValue(tail: Buffer, byte: number): Buffer {
  const value = byte < 128 ? /^("[^"]*"|[\w.+-]+)/.exec(tail.toString("latin1")) : null;
  return tail.subarray(value?.[0].length ?? 0);
}

/** Texts: the same on UTF-8. */
export const mutateText = (text: string, list: readonly Mutation[]): string =>
  mutate(Buffer.from(text), list).toString("utf8");

/** `bytes` in pieces, as a stream may bring them. */
export function pieces(bytes: Uint8Array, size: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) found.push(bytes.subarray(at, at + size));
  return found;
}
