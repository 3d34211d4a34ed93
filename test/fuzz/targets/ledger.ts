import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readState } from "../../../src/ledger/read-state.ts";
import { STATE_FILE, STATE_VERSION } from "../../../src/ledger/state-file.ts";
import type { Target } from "../engine/target.ts";

const RESOURCES = [
  { kind: "process", role: "vmm", pid: 7, startTime: "9" },
  { kind: "mount", path: "/run/hull/n/p/shared/tree/x" },
  { kind: "tap", netns: "/run/netns/n", name: "hull-1" },
  { kind: "user", path: "/run/hull/.user-1879048200" },
  { kind: "cgroup", path: "/kubepods/p", existing: "/kubepods" },
];

let directory: Promise<string> | undefined;
const inDirectory = () => {
  directory ??= mkdtemp(join(tmpdir(), "hull-fuzz-"));
  return directory;
};

/**
 * `state.json` after a crash or with a full disk: entries that can be parsed count, and the loss of others is
 * reported.
 */
export const ledger: Target = {
  name: "ledger",
  seeds: [JSON.stringify({ version: STATE_VERSION, namespace: "n", id: "p", resources: RESOURCES })],
  tokens: ['{"kind":"', '"resources":', '"version":2'],
  async run(input) {
    const directory = await inDirectory();
    await writeFile(join(directory, STATE_FILE), input);
    const { resources, problem } = await readState(directory);
    assert.ok(resources.every(({ kind }) => typeof kind === "string"));
    if (resources.length < 5) return problem === undefined;
    return true;
  },
  async close() {
    if (directory) await rm(await directory, { recursive: true });
  },
};
