import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { parseText } from "../parse/parse-text.ts";
import { effectiveYaml } from "../result/explain.ts";
import { layerOf } from "../result/layer.ts";
import { LoadedConfig } from "../result/loaded-config.ts";
import { checkValue } from "../schema/check-value.ts";
import { defaultOf } from "../schema/key.ts";
import { KEYS } from "../schema/schema.ts";
import { artifacts } from "./artifacts.ts";
import { writtenDefault } from "./describe.ts";
import { jsonSchema } from "./json-schema.ts";
import { sample } from "./sample.ts";

const INSTALLATION = "/opt/hull";

async function load(text: string): Promise<LoadedConfig> {
  const origin = { kind: "file", source: "x", directory: join(INSTALLATION, "configs") } as const;
  return LoadedConfig.of([layerOf(await parseText({ ...origin, text }), origin)], [], INSTALLATION);
}

test("the committed files are those of the schema", async () => {
  for (const [file, text] of artifacts()) {
    assert.equal(
      await readFile(join(import.meta.dirname ?? __dirname, "../../..", file), "utf8"),
      text,
      `${file}: run hack/generate-config`,
    );
  }
});

test("a sample loads to the defaults, also with its keys uncommented", async () => {
  const defaults = LoadedConfig.of([], [], INSTALLATION).config;
  assert.deepEqual((await load(sample("qemu"))).config, defaults);
  const uncommented = sample("qemu").replace(/^( *)# ([a-z_]+:( .*)?)$/gm, "$1$2");
  assert.notEqual(uncommented, sample("qemu"));
  assert.deepEqual((await load(uncommented)).config, defaults);
});

test("what `show` prints loads to the same configuration", async () => {
  const first = await load(
    "version: 1\nhypervisor: {cpu_model: '486', kernel: 'a b #c', kernel_params: [x=y, 'true'], extra_args: ['-x\"y']}\nruntime: {sigterm_escalation: {after: 1500ms}}\n",
  );
  for (const origin of [false, true]) {
    assert.deepEqual((await load(effectiveYaml(first, { origin }))).config, first.config);
  }
});

test("every key's default fits the key", () => {
  for (const [name, key] of KEYS) {
    const written = key.kind === "duration" ? writtenDefault(key, "qemu") : defaultOf(key, "qemu");
    if (written === undefined) continue;
    const checked = checkValue(key, written);
    assert.ok("value" in checked, `${name}: ${JSON.stringify(checked)}`);
  }
});

test("the JSON Schema has every key and no other", () => {
  const names: string[] = [];
  const walk = (node: Record<string, unknown>, prefix: string) => {
    for (const [name, child] of Object.entries(node.properties as Record<string, Record<string, unknown>>)) {
      if (child.properties && child.additionalProperties === false) walk(child, `${prefix}${name}.`);
      else names.push(prefix + name);
    }
  };
  walk(jsonSchema(), "");
  assert.deepEqual(names, ["version", ...KEYS.keys()]);
});
