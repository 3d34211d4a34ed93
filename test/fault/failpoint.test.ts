import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Action, Failpoint, formatAction, formatTerms, parseTerms, type Term } from "./failpoint.ts";

/** Returns what a failpoint does in its first `times` uses. */
function uses(text: string, times: number): string[] {
  const failpoint = new Failpoint(parseTerms(text));
  return Array.from({ length: times }, () => formatAction(failpoint.next()));
}

test("terms are used up one after the other, and then nothing happens", () => {
  assert.deepEqual(uses("2*off->1*kill(qemu)", 4), ["off", "off", "kill(qemu)", "off"]);
  assert.deepEqual(uses("1*error(ENOSPC: full)->0*panic(never)->2*delay(10)", 4), [
    "error(ENOSPC: full)",
    "delay(10)",
    "delay(10)",
    "off",
  ]);
  assert.deepEqual(uses("1*stop(virtiofsd-worker)->1*panic(gone)", 2), [
    "stop(virtiofsd-worker)",
    "panic(gone)",
  ]);
});

test("an invalid term is reported", () => {
  const wrong: [string, RegExp][] = [
    ["", /nothing is not/],
    ["off", /is not <count>/],
    ["1*off->", /nothing is not/],
    ["1*off1*off", /is not <count>/],
    ["-1*off", /is not <count>/],
    ["1*off(x)", /takes no argument/],
    ["1*error", /error needs an argument/],
    ["1*kill()", /kill needs an argument/],
    ["1*delay(soon)", /soon is not a number/],
    ["1*explode(x)", /no type explode/],
  ];
  for (const [text, message] of wrong) assert.throws(() => parseTerms(text), message, text);
});

test("every list of terms is parsed as it was formatted", () => {
  const texts = fc.stringMatching(/^[a-zA-Z0-9 :.-]*[a-z]$/).filter((text) => !text.includes("->"));
  const action: fc.Arbitrary<Action> = fc.oneof(
    fc.constant({ type: "off" } as const),
    fc.record({ type: fc.constantFrom("error" as const, "panic" as const), text: texts }),
    fc.record({ type: fc.constant("delay" as const), ms: fc.nat() }),
    fc.record({ type: fc.constantFrom("kill" as const, "stop" as const), who: texts }),
  );
  const term: fc.Arbitrary<Term> = fc.record({ count: fc.nat(), action });
  fc.assert(
    fc.property(fc.array(term, { minLength: 1 }), (terms) => {
      const text = formatTerms(terms);
      assert.equal(formatTerms(parseTerms(text)), text);
    }),
  );
});
