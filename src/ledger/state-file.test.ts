import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { STATE_FILE, StateFile } from "./state-file.ts";

test("a resource that cannot be recorded is refused; one that cannot be removed stays", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "hull-state-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const warnings: string[] = [];
  const state = new StateFile(directory, "ns", "p", (text) => void warnings.push(text));
  const kept = await state.record({ kind: "socket", path: join(directory, "a") });
  await rm(directory, { recursive: true });
  await assert.rejects(state.record({ kind: "socket", path: join(directory, "b") }), {
    code: "Internal",
    message: new RegExp(`^record the pod's resources in ${join(directory, STATE_FILE)}: ENOENT`),
  });
  assert.deepEqual(state.resources, [{ kind: "socket", path: join(directory, "a") }]);
  await kept.forget();
  assert.deepEqual(state.resources, [{ kind: "socket", path: join(directory, "a") }]);
  assert.match(warnings.join(), /a socket that was released stays recorded, and is released again later/);
});

test("the file contains what is recorded", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "hull-state-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const state = new StateFile(directory, "ns", "p", () => undefined);
  await Promise.all(["a", "b"].map((path) => state.record({ kind: "socket", path })));
  const { resources } = JSON.parse(await readFile(join(directory, STATE_FILE), "utf8")) as StateFile;
  assert.deepEqual(resources, [
    { kind: "socket", path: "a" },
    { kind: "socket", path: "b" },
  ]);
});
