import { article } from "../schema/check-value.ts";
import { formatDuration } from "../schema/duration.ts";
import { defaultOf, type HypervisorType, type Key, type Value } from "../schema/key.ts";

/** Describes the type of a key's value and its range: "whole number of MiB, 64 to 1048576". */
export function typeOf(key: Key): string {
  switch (key.kind) {
    case "boolean":
      return "true or false";
    case "integer":
      return `whole number${key.unit === undefined ? "" : ` of ${key.unit}`}, ${key.min} to ${key.max}`;
    case "duration":
      return `duration, ${formatDuration(key.min)} to ${formatDuration(key.max)}`;
    case "choice":
      return `one of ${key.choices.join(", ")}`;
    case "choice-or-after":
      return `one of ${key.choices.join(", ")}, or {after: duration, ${formatDuration(key.min)} to ${formatDuration(key.max)}}`;
    case "list":
      return `list of strings, each ${article(key.item)} ${key.item}`;
    case "path":
      return "path, absolute or relative to the directory of the file that sets it";
    case "program":
      return "program, a path or a name to search for";
    case "string":
      return "string";
  }
}

/** A default as it is written in a file; undefined if the key has none. */
export function writtenDefault(key: Key, type: HypervisorType): string | undefined {
  const value = defaultOf(key, type);
  if (value === undefined) return undefined;
  // In an installation, guest/ is next to configs/.
  if (key.kind === "path" && key.relative) return `../${value}`;
  return writtenValue(key, value);
}

/** A value as it is written in a YAML file. */
export function writtenValue(key: Key, value: Value): string {
  if (key.kind === "duration" && typeof value === "number") return formatDuration(value);
  if (typeof value === "object" && "after" in value) return `{after: ${formatDuration(value.after)}}`;
  if (Array.isArray(value)) return `[${value.map(writtenText).join(", ")}]`;
  return typeof value === "string" ? writtenText(value) : String(value);
}

/** The text, quoted unless YAML reads the plain text as the same string. */
function writtenText(text: string): string {
  const plain = /^[A-Za-z/][\w./-]*$/.test(text) && !/^(true|false|null)$/i.test(text);
  return plain ? text : JSON.stringify(text);
}
