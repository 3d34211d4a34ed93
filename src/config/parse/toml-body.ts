import { parse, TomlError } from "smol-toml";
import type { ParsedDocument } from "./parsed-document.ts";

/** Whether a body is TOML: its first line that is not blank or a comment is a table header or an assignment. */
export function isToml(body: string): boolean {
  const first = body.split("\n").find((line) => line.trim() !== "" && !line.trim().startsWith("#"));
  return first !== undefined && /^\s*(\[|[\w."'-]+\s*=)/.test(first);
}

/**
 * Whether a body is a table for another runtime. From 1.7 on, containerd's CRI plugin sends the whole `options` table
 * of a runtime handler as TOML if it has no ConfigPath; a handler copied from runc's then sends `SystemdCgroup = true`.
 */
export function isForeignTable(body: string): boolean {
  return body.trim() === "" || (isToml(body) && !body.split("\n").some((line) => OURS.test(line)));
}

/** A line that sets something in a hull configuration. */
const OURS = /^\s*(?:\[\s*)?["']?(?:version|hypervisor|agent|runtime|shim|metrics)\b/;

/** Parses a body in TOML. containerd re-marshals it, so its positions would mean nothing to the operator. */
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
