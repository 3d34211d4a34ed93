import { parse } from "smol-toml";
import { writtenValue } from "../emit/describe.ts";
import { checkValue } from "../schema/check-value.ts";
import { defaultOf, type HypervisorType, type Key, type Value } from "../schema/key.ts";
import { ConfigError } from "../schema/problem.ts";
import { CONFIG_VERSION, KEYS } from "../schema/schema.ts";
import { ruleOf } from "./mapping.ts";

/** An imported configuration. */
interface Imported {
  /** hull's configuration; what was left out is in comments at its end. */
  readonly yaml: string;
  /** Kata's keys that were not carried over, with the reason. */
  readonly dropped: readonly { readonly key: string; readonly why: string }[];
}

const HYPERVISORS: Readonly<Record<string, HypervisorType>> = {
  qemu: "qemu",
  clh: "cloud-hypervisor",
  "cloud-hypervisor": "cloud-hypervisor",
};

const GROWS = "runtime.static_sandbox_resource_mgmt";

/**
 * Converts a Kata Containers configuration (configuration.toml). Nothing is dropped silently: keys without a
 * counterpart and values that hull refuses are listed. Throws ConfigError if it is not TOML.
 */
export function importKata(toml: string, source: string): Imported {
  const settings = new Map<string, Value>();
  const dropped: { key: string; why: string }[] = [];
  const refused = new Map<string, string>();
  let type: HypervisorType = "qemu";

  const set = (name: string, from: string, value: unknown) => {
    const key = KEYS.get(name) as Key;
    const checked = checkValue(key, value);
    if ("rule" in checked) {
      if (!sameAsDefault(key, value, type)) dropped.push({ key: from, why: `${name} ${checked.rule}` });
      return;
    }
    const before = settings.get(name);
    const merged = Array.isArray(before) ? [...before, ...(checked.value as string[])] : checked.value;
    settings.set(name, merged as Value);
  };

  for (const [name, value] of leaves(parseKata(toml, source))) {
    const hypervisor = /^hypervisor\.([^.]+)\./.exec(name)?.[1];
    if (hypervisor !== undefined) {
      const known = HYPERVISORS[hypervisor];
      if (!known) {
        refused.set(`[hypervisor.${hypervisor}]`, "hull does not support this hypervisor");
        continue;
      }
      type = known;
    }
    if (hypervisor !== undefined && name.endsWith(".enable_annotations")) {
      importAnnotations(name, value, settings, dropped);
      continue;
    }
    const rule = ruleOf(name);
    if (!rule) dropped.push({ key: name, why: "no counterpart" });
    else if ("why" in rule) dropped.push({ key: name, why: rule.why });
    else {
      const ours = rule.value ? rule.value(value) : value;
      if (ours !== undefined) set(rule.to, name, ours);
    }
  }
  // Kata's default, in each of its files; hull refuses it with this hypervisor.
  if (type === "cloud-hypervisor" && settings.get(GROWS) === false) {
    settings.delete(GROWS);
    dropped.push({ key: GROWS, why: "virtual machines that grow are so far supported only with qemu" });
  }
  for (const [key, why] of refused) dropped.push({ key, why });
  return { yaml: render(settings, type, dropped, source), dropped };
}

function parseKata(toml: string, source: string): Record<string, unknown> {
  try {
    return parse(toml);
  } catch (thrown) {
    const rule = `not TOML: ${(thrown as Error).message.split("\n")[0]}`;
    throw new ConfigError([{ source, rule }]);
  }
}

function* leaves(table: Record<string, unknown>, prefix = ""): Generator<[string, unknown]> {
  for (const [name, value] of Object.entries(table)) {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      yield* leaves(value as Record<string, unknown>, `${prefix}${name}.`);
    } else yield [prefix + name, value];
  }
}

/** Kata lists regular expressions for the last part of annotations; each becomes the key that it allows. */
function importAnnotations(
  from: string,
  value: unknown,
  settings: Map<string, Value>,
  dropped: { key: string; why: string }[],
): void {
  const keys: string[] = [];
  for (const name of Array.isArray(value) ? value.map(String) : []) {
    const rule = ruleOf(`hypervisor.qemu.${name}`);
    const to = name === ".*" ? "hypervisor.*" : rule && "to" in rule ? rule.to : undefined;
    if (to !== undefined && (to.includes("*") || KEYS.get(to)?.annotation)) keys.push(to);
    else dropped.push({ key: `${from}: ${name}`, why: "no key that an annotation can set" });
  }
  if (keys.length > 0) settings.set("runtime.enable_annotations", keys);
}

function sameAsDefault(key: Key, value: unknown, type: HypervisorType): boolean {
  return JSON.stringify(value) === JSON.stringify(defaultOf(key, type));
}

function render(
  settings: ReadonlyMap<string, Value>,
  type: HypervisorType,
  dropped: readonly { key: string; why: string }[],
  source: string,
): string {
  const lines = [
    `# Imported from ${source}. Values equal to hull's defaults are left out.`,
    `version: ${CONFIG_VERSION}`,
  ];
  const open: string[] = [];
  const all = new Map<string, Value>([["hypervisor.type", type], ...settings]);
  for (const [name, key] of KEYS) {
    if (!all.has(name)) continue;
    const value = all.get(name);
    if (name !== "hypervisor.type" && sameAsDefault(key, value, type)) continue;
    const parts = name.split(".");
    const leaf = parts.pop() as string;
    for (const [depth, part] of parts.entries()) {
      if (open[depth] === part) continue;
      open.splice(depth, open.length, part);
      lines.push(`${"  ".repeat(depth)}${part}:`);
    }
    open.length = parts.length;
    lines.push(`${"  ".repeat(parts.length)}${leaf}: ${writtenValue(key, value)}`);
  }
  if (dropped.length > 0) {
    lines.push("", "# Not carried over:");
    for (const { key, why } of dropped) lines.push(`#   ${key}: ${why}`.replaceAll("\n", " "));
  }
  return `${lines.join("\n")}\n`;
}
