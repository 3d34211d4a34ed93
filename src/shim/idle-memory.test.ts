import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { getHeapSpaceStatistics } from "node:v8";
import { giveBackWhenIdle, loadMemoryAddon } from "./idle-memory.ts";

const addon = join(import.meta.dirname, "../../dist/lib/memory.node");
const MIB = 1024 * 1024;

/** Allocates until the young generation has grown by far: a part lives long enough to be copied. */
function work(): void {
  const living: unknown[] = [];
  for (let i = 0; i < 2_000_000; i++) living[i % 50_000] = { i, text: [i] };
}

function youngMib(): number {
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
  return (young?.physical_space_size ?? Number.NaN) / MIB;
}

test("the memory of a burst of work is given back, after each burst once more", async () => {
  const { giveBack } = loadMemoryAddon(addon);
  let told: (mib: { before: number; after: number }) => void;
  const next = () =>
    new Promise<{ before: number; after: number }>((resolve) => {
      told = resolve;
    });
  const idle = giveBackWhenIdle(
    {
      giveBack: () => {
        const before = youngMib();
        giveBack();
        told({ before, after: youngMib() });
      },
    },
    20,
  );
  // The timer does not keep a process alive; the test has to.
  const alive = setInterval(() => undefined, 1000);
  try {
    for (let burst = 0; burst < 2; burst++) {
      const given = next();
      work();
      const { before, after } = await given;
      assert.ok(before > 4 && after < 2, `burst ${burst}: ${before} MiB before, ${after} MiB after`);
    }
  } finally {
    clearInterval(alive);
    idle.stop();
  }
});

test("a file's text needs no copy of it", () => {
  const { text } = loadMemoryAddon(addon);
  const file = import.meta.filename;
  assert.equal(text(file), readFileSync(file, "utf8"));
  assert.equal(text("/no/such/file"), undefined);
});

test("an addon that is missing is named", () => {
  assert.throws(() => loadMemoryAddon("/no/such/memory.node"), {
    code: "Unavailable",
    message: /memory addon \/no\/such\/memory.node/,
  });
});
