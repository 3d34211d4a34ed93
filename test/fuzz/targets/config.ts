import assert from "node:assert/strict";
import { parseText } from "../../../src/config/parse/parse-text.ts";
import { isForeignTable } from "../../../src/config/parse/toml-body.ts";
import { ANNOTATION_PREFIX } from "../../../src/config/result/annotations.ts";
import { layerOf } from "../../../src/config/result/layer.ts";
import { LoadedConfig } from "../../../src/config/result/loaded-config.ts";
import { refusal } from "../engine/refusal.ts";
import type { Target } from "../engine/target.ts";

/** Short, so that mutations hit something relevant, and because the parser's time grows with length. */
const YAML = [
  "version: 1\nhypervisor:\n  default_memory: 512\n  kernel: ../k\n",
  "version: 1\nhypervisor: {kernel_params: [a, b=7], accel: tcg}\n",
  "version: 1\nagent: {boot_timeout: 10s}\nshim: {protocol: ttrpc}\n",
  "version: 1\nruntime:\n  sigterm_escalation: {after: 10s}\n",
];
const TOML = ["version = 1\n[hypervisor]\ntype = 'qemu'\n", "SystemdCgroup = true\n"];
const YAML_TOKENS = ["- ", "  ", "\t", "'", "&a ", "*a", "!!int ", "~", "<<: ", "---\n", "...\n", "%", "|\n"];
const MORE_TOKENS = [
  ">-\n",
  "? ",
  "#",
  "0x",
  ".nan",
  "hypervisor",
  "agent:",
  "version: 1\n",
  "= ",
  "[hypervisor]\n",
];

async function load(text: string, kind: "file" | "options"): Promise<LoadedConfig> {
  const origin = { kind, source: "x.yaml", directory: "/etc/hull" } as const;
  return LoadedConfig.of([layerOf(await parseText({ ...origin, text }), origin)], [], "/opt");
}

function check({ config }: LoadedConfig): void {
  assert.ok(config.hypervisor.default_memory >= 64 && config.hypervisor.kernel.startsWith("/"));
  assert.ok(config.agent.boot_timeout >= 1_000);
}

function target(name: string, kind: "file" | "options", seeds: readonly string[]): Target {
  return {
    ...{ name, seeds },
    tokens: [...YAML_TOKENS, ...MORE_TOKENS],
    longest: 512,
    async run(input) {
      const text = input.toString("utf8");
      if (kind === "options") isForeignTable(text);
      try {
        check(await load(text, kind));
        return true;
      } catch (thrown) {
        return refusal(thrown, "InvalidArgument");
      }
    },
  };
}

/** A configuration file in YAML. */
export const configFile = target("config-file", "file", YAML);
/** The configuration in containerd's options, which may be TOML. */
export const configBody = target("config-body", "options", [...YAML, ...TOML]);

const ALLOWING = "version: 1\nruntime: {enable_annotations: ['*'], annotation_paths: [/srv/*]}\n";
let allowing: Promise<LoadedConfig> | undefined;

/** A pod's annotations, all of which the node allows: one `key=value` per line. */
export const annotations: Target = {
  name: "annotations",
  seeds: [
    "io.hull.config.hypervisor.default_memory=512\nio.hull.config.hypervisor.default_vcpus=2\nother=x",
    'io.hull.config.hypervisor.kernel=/srv/k\nio.hull.config.runtime.sigterm_escalation={"after":"10s"}',
    'io.hull.config.hypervisor.kernel_params=["a","b=7"]',
    "io.hull.config.hypervisor.kernel_params=a b=7",
  ],
  tokens: [ANNOTATION_PREFIX, "/srv/../etc", "hypervisor.", "\n", "=", "[1]"],
  async run(input) {
    allowing ??= load(ALLOWING, "file");
    const pairs = input.toString("utf8").split("\n");
    const given = Object.fromEntries(pairs.map((line) => [line.split("=")[0], line.replace(/^[^=]*=?/, "")]));
    try {
      const loaded = (await allowing).withAnnotations(given);
      check(loaded);
      const { kernel } = loaded.config.hypervisor;
      assert.match(kernel, /^\/(srv\/[^/]*|opt\/.*)$/, "a path that is not allowed");
      return loaded !== (await allowing);
    } catch (thrown) {
      return refusal(thrown, "InvalidArgument");
    }
  },
};
