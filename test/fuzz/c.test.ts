import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** Per target: a busy machine tries fewer inputs. */
const SECONDS = 1;
const fuzz = join(dirname(fileURLToPath(import.meta.url)), "../../hack/fuzz");

test("no target in C fails in a short run", async (t) => {
  const seed = ["--seed", process.env.HULL_FUZZ_SEED ?? `${Date.now() % 2 ** 31}`];
  const { stdout } = await promisify(execFile)(fuzz, ["c", "--seconds", `${SECONDS}`, ...seed]);
  t.diagnostic(`seed ${seed[1]}; ${stdout.replaceAll("\n", " ")}`);
  assert.ok((stdout.match(/^== /gm) ?? []).length >= 5, stdout);
});
