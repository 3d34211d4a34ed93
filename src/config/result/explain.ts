import { writtenValue } from "../emit/describe.ts";
import type { Key, Section } from "../schema/key.ts";
import { CONFIG_VERSION, SCHEMA } from "../schema/schema.ts";
import type { Origin } from "./layer.ts";
import type { LoadedConfig } from "./loaded-config.ts";

/** Describes where a value came from: a file with its position, an annotation's name, or "default". */
export function originText({ kind, source, position }: Origin): string {
  const place = position ? `${source}:${position.line}:${position.column}` : source;
  return kind === "annotation" ? `annotation ${place}` : place;
}

/** The configuration in force as a YAML file that loads to the same; with `origin`, a comment after every value. */
export function effectiveYaml(loaded: LoadedConfig, { origin }: { readonly origin: boolean }): string {
  const lines = [`version: ${CONFIG_VERSION}`];
  const leaf = (key: Key, name: string, full: string, indent: string) => {
    const setting = loaded.inForce(full);
    const text =
      setting.value === undefined
        ? `${indent}# ${name}: not set`
        : `${indent}${name}: ${writtenValue(key, setting.value)}`;
    lines.push(origin ? `${text.padEnd(56)} # ${originText(setting.origin)}` : text);
  };
  const walk = (node: Section, prefix: string, indent: string) => {
    for (const [name, child] of Object.entries(node.keys)) {
      const full = prefix + name;
      if (child.kind !== "section") {
        leaf(child, name, full, indent);
        continue;
      }
      lines.push(`${indent}${name}:`);
      walk(child, `${full}.`, `${indent}  `);
    }
  };
  walk(SCHEMA, "", "");
  return `${lines.join("\n")}\n`;
}
