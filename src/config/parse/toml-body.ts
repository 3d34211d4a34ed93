import { parse, TomlError } from "smol-toml";
import type { ParsedDocument } from "./parsed-document.ts";

/** Whether a body is TOML: its first line that says something is a table header or an assignment. */
export function isToml(body: string): boolean {
  const first = body.split("\n").find((line) => line.trim() !== "" && !line.trim().startsWith("#"));
  return first !== undefined && /^\s*(\[|[\w."'-]+\s*=)/.test(first);
}

/**
 * Whether a body is a table that was never meant for hull. From 1.7 on, containerd's CRI plugin sends the whole
 * `options` table of a runtime handler as TOML when it names no ConfigPath; a handler copied from runc's then
 * sends `SystemdCgroup = true`.
 */
export function isForeignTable(body: string): boolean {
  return body.trim() === "" || (isToml(body) && !body.split("\n").some((line) => OURS.test(line)));
}

/** A line that sets what a hull configuration has. */
const OURS = /^\s*(?:\[\s*)?["']?(?:version|hypervisor|agent|runtime|shim|metrics)\b/;

/** Parses a body in TOML. containerd re-marshals it, so there are no positions worth telling. */
export function parseToml(text: string, source: string): ParsedDocument {
  try {
    const { TypeUrl: _, ...value } = parse(text);
    return { value, positions: {}, problems: [] };
  } catch (thrown) {
    const rule = `not TOML: ${(thrown as Error).message.split("\n")[0]}`;
    const position = thrown instanceof TomlError ? { line: thrown.line, column: thrown.column } : undefined;
    return { value: null, positions: {}, problems: [{ source, position, rule }] };
  }
}
