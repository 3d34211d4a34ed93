import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadSession } from "./engine/load.ts";

/**
 * A short run of every target, for CI; `hack/fuzz` can run them for any time. A busy machine tries fewer
 * inputs, but at least LEAST. HULL_FUZZ_SEED repeats a run.
 */
const SECONDS = 1;
const LEAST = 500;
/** Inputs that test growth of time. */
const PUMPS = 40;
const seed = Number(process.env.HULL_FUZZ_SEED ?? Date.now() % 2 ** 31);
const dist = join(dirname(fileURLToPath(import.meta.url)), "../../dist/fuzz");

test(`no target fails in a short run (seed ${seed})`, async (t) => {
  const session = await loadSession();
  for (const name of await session.names()) {
    await t.test(name, async (tt) => {
      const limits = { inputs: Number.POSITIVE_INFINITY, seconds: SECONDS, least: LEAST };
      const outcome = await session.run(name, limits, PUMPS, seed, join(dist, `${name}.input`));
      tt.diagnostic(`${outcome.inputs} inputs, ${outcome.accepted} accepted, ${outcome.places} places`);
      assert.ok(outcome.accepted > 0, "every input was refused: nothing was tried");
      assert.ok(outcome.places > 1, "no place is counted");
    });
  }
});
