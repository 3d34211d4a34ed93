import { HullError } from "../../core/errors.ts";
import { jsonOf, printable } from "../../core/printable.ts";

/** A place in a document, both counted from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** One thing that is wrong: where, with which key, the rule that is broken, and what to do about it. */
export interface Problem {
  /** The file, or a name for what is no file: `annotation io.hull.config.x`, `runtime options`. */
  readonly source: string;
  readonly position?: Position | undefined;
  readonly key?: string | undefined;
  readonly rule: string;
  readonly advice?: string | undefined;
}

/** Problems that a message tells; for the others nothing need be found out that only a reader wants to know. */
export const SHOWN = 20;
/** Characters of a problem that are told: it may quote whatever was written. */
const LONGEST = 1_000;

/** `file:line:column: key: rule; advice`. */
export function format({ source, position, key, rule, advice }: Problem): string {
  const place = position ? `${source}:${position.line}:${position.column}` : source;
  return [place, ...(key ? [key] : []), advice ? `${rule}; ${advice}` : rule].join(": ");
}

/** A refused configuration. The message has a line per problem, the first twenty of them, none of them long. */
export class ConfigError extends HullError {
  constructor(readonly problems: readonly Problem[]) {
    const lines = problems.slice(0, SHOWN).map((problem) => printable(format(problem), LONGEST));
    if (problems.length > SHOWN) lines.push(`and ${problems.length - SHOWN} more`);
    super("InvalidArgument", `configuration refused: ${lines.join("\n")}`);
  }
}

/** Shows a value in a message: as JSON, shortened to 60 characters. */
export function show(value: unknown): string {
  const text = typeof value === "number" ? String(value) : (jsonOf(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
