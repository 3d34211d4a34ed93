import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { getHeapSpaceStatistics } from "node:v8";
import { loadMemoryAddon, returnMemoryWhenIdle } from "./idle-memory.ts";

const addon = join(import.meta.dirname, "../../dist/lib/memory.node");
const MIB = 1024 * 1024;

/** Makes the young generation grow: a part of the objects lives long enough to be copied. */
function work(): void {
  const living: unknown[] = [];
  for (let i = 0; i < 2_000_000; i++) living[i % 50_000] = { i, text: [i] };
}

function youngGenerationMib(): number {
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
  return (young?.physical_space_size ?? Number.NaN) / MIB;
}

test("memory is returned after each burst of work", async () => {
  const { releaseFreePages } = loadMemoryAddon(addon);
  let report: (mib: { before: number; after: number }) => void;
  const next = () =>
    new Promise<{ before: number; after: number }>((resolve) => {
      report = resolve;
    });
  const idle = returnMemoryWhenIdle(
    {
      releaseFreePages: () => {
        const before = youngGenerationMib();
        releaseFreePages();
        report({ before, after: youngGenerationMib() });
      },
    },
    20,
  );
  // The timer is unref'd and does not keep the test running.
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

test("a file's text is returned, and undefined for a missing file", () => {
  const { text } = loadMemoryAddon(addon);
  const file = import.meta.filename;
  assert.equal(text(file), readFileSync(file, "utf8"));
  assert.equal(text("/no/such/file"), undefined);
});

test("the error for a missing addon has its path", () => {
  assert.throws(() => loadMemoryAddon("/no/such/memory.node"), {
    code: "Unavailable",
    message: /memory addon \/no\/such\/memory.node/,
  });
});
