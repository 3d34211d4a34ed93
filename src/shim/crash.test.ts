import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const FIXTURE = fileURLToPath(new URL("../../test/fixtures/crash.ts", import.meta.url));

for (const [bug, origin] of [
  ["throw", "uncaughtException"],
  ["reject", "unhandledRejection"],
] as const) {
  test(`${origin}: one log line has the pod, the error and the shim's state`, () => {
    const argv = ["--import", "tsx", FIXTURE, bug];
    const { status, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
    assert.equal(status, 1);
    const line = stderr.split("\n").find((text) => text.startsWith("{")) ?? "{}";
    const { level, pod, msg, err, state } = JSON.parse(line);
    assert.deepEqual([level, pod, err?.message], [60, "p1", "boom"]);
    assert.match(err.stack, /boom/);
    assert.deepEqual(state, { step: "boot" });
    assert.match(msg, new RegExp(`^shim: ${origin}: a bug in hull`));
  });
}
