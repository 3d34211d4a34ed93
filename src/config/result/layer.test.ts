import assert from "node:assert/strict";
import { test } from "node:test";
import { parseText } from "../parse/parse-text.ts";
import { boolean, integer, section } from "../schema/key.ts";
import { layerOf } from "./layer.ts";

const retired = { since: "0.3.0", until: "2027-06-30", instead: "use vm.memory" };
const schema = section("A schema with a past.", {
  vm: section("The machine.", {
    memory: integer({ about: "Memory.", unit: "MiB", min: 1, max: 100, default: 1, since: "0.1.0" }),
    mem: integer({ about: "Memory.", unit: "MiB", min: 1, max: 100, default: 1, since: "0.1.0", retired }),
    rare: boolean({ about: "Soon.", default: false, since: "0.4.0", planned: true }),
  }),
});

async function layer(text: string) {
  const origin = { kind: "file", source: "old.yaml", directory: "/etc/hull" } as const;
  return layerOf(await parseText({ ...origin, text }), origin, schema);
}

test("a retired key still counts, with a warning that names the date and what to use", async () => {
  const { settings, warnings, problems } = await layer("version: 1\nvm: {mem: 7}\n");
  assert.deepEqual(problems, []);
  assert.equal(settings.get("vm.mem")?.value, 7);
  assert.deepEqual(warnings, [
    "old.yaml: vm.mem is retired since 0.3.0 and will be refused after 2027-06-30; use vm.memory",
  ]);
});

test("a retired key with a wrong value is a problem, not a warning; other keys cause no warning", async () => {
  const wrong = await layer("version: 1\nvm: {mem: 0}\n");
  assert.equal(wrong.problems.length, 1);
  assert.deepEqual(wrong.warnings, []);
  assert.deepEqual((await layer("version: 1\nvm: {memory: 7}\n")).warnings, []);
});

test("a planned key may be written with its default only", async () => {
  assert.deepEqual((await layer("version: 1\nvm: {rare: false}\n")).problems, []);
  assert.equal((await layer("version: 1\nvm: {rare: true}\n")).problems[0]?.rule, "is not implemented yet");
});
