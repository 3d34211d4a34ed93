import type { HypervisorType, Key, Section } from "../schema/key.ts";
import { CONFIG_VERSION, SCHEMA } from "../schema/schema.ts";
import { typeOf, writtenDefault } from "./describe.ts";

const TITLES: Readonly<Record<HypervisorType, string>> = {
  qemu: "QEMU",
  "cloud-hypervisor": "Cloud Hypervisor",
};

/**
 * A sample configuration for one hypervisor: every implemented key with its default, commented out, so that the file
 * documents what hull does and changes nothing.
 */
export function sample(type: HypervisorType): string {
  const lines = [
    `# hull configuration for ${TITLES[type]}. Generated from the schema by hack/generate-config.`,
    "# Commented values are the defaults. Relative paths are relative to this file's directory.",
    "# Reference: docs/configuration.md. Check a change with: hull config validate FILE",
    "",
    `version: ${CONFIG_VERSION}`,
  ];
  for (const [name, node] of Object.entries(SCHEMA.keys)) lines.push(...sectionLines(node, name, "", type));
  return `${lines.join("\n")}\n`;
}

function sectionLines(node: Section, name: string, indent: string, type: HypervisorType): string[] {
  const inner = `${indent}  `;
  const body = Object.entries(node.keys).flatMap(([child, key]) =>
    key.kind === "section" ? sectionLines(key, child, inner, type) : keyLines(key, child, inner, type),
  );
  if (body.length === 0) return [];
  return ["", `${indent}# ${node.about}`, `${indent}${name}:`, ...body.slice(body[0] === "" ? 1 : 0)];
}

function keyLines(key: Key, name: string, indent: string, type: HypervisorType): string[] {
  if (key.planned || key.retired) return [];
  const value = writtenDefault(key, type);
  const active = name === "type";
  return [
    "",
    ...wrap(key.about, 100 - indent.length).map((line) => `${indent}# ${line}`),
    `${indent}# ${capital(typeOf(key))}.${key.example ? ` Example: ${key.example}` : ""}`,
    active
      ? `${indent}${name}: ${type}`
      : // A key without a default has no value to show.
        `${indent}# ${value === undefined ? `(${name} has no default)` : `${name}: ${value}`}`,
  ];
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
