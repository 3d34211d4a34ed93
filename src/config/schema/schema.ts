import { type Key, type Section, section, type ValueOf } from "./key.ts";
import { agent } from "./keys/agent.ts";
import { hypervisor } from "./keys/hypervisor.ts";
import { metrics, runtime, shim } from "./keys/runtime.ts";

/** The version that a configuration file must name: `version: 1`. */
export const CONFIG_VERSION = 1;

/** The whole configuration. To add a key, add it to its section: everything else is derived (`hack/generate-config`). */
export const SCHEMA = section("", { hypervisor, agent, runtime, shim, metrics });

/** A loaded configuration: every key has a value, durations are in milliseconds, paths are absolute. */
export type Config = ValueOf<typeof SCHEMA>;

/** All keys by their full names (`hypervisor.template.enable`), in the order of the schema. */
export const KEYS: ReadonlyMap<string, Key> = new Map(keysOf(SCHEMA, ""));

function* keysOf(node: Section, prefix: string): Generator<[string, Key]> {
  for (const [name, child] of Object.entries(node.keys)) {
    if (child.kind === "section") yield* keysOf(child, `${prefix}${name}.`);
    else yield [prefix + name, child];
  }
}
