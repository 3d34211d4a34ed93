import { HullError } from "../../core/errors.ts";
import { jsonOf, printable } from "../../core/printable.ts";

/** A position in a document; line and column count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** One thing that is wrong: where, which key, the rule that it breaks, and what to do. */
export interface Problem {
  /** The file, or the name of another source: `annotation io.hull.config.x`, `runtime options`. */
  readonly source: string;
  readonly position?: Position | undefined;
  readonly key?: string | undefined;
  readonly rule: string;
  readonly advice?: string | undefined;
}

/** How many problems a message shows. For the others no suggestions are computed. */
export const SHOWN = 20;
/** How many characters of a problem are shown: it may quote its input. */
const MAX_LENGTH = 1_000;

/** `file:line:column: key: rule; advice`. */
function format({ source, position, key, rule, advice }: Problem): string {
  const place = position ? `${source}:${position.line}:${position.column}` : source;
  return [place, ...(key ? [key] : []), advice ? `${rule}; ${advice}` : rule].join(": ");
}

/** A refused configuration. The message has one line for each of the first SHOWN problems. */
export class ConfigError extends HullError {
  constructor(readonly problems: readonly Problem[]) {
    const lines = problems.slice(0, SHOWN).map((problem) => printable(format(problem), MAX_LENGTH));
    if (problems.length > SHOWN) lines.push(`and ${problems.length - SHOWN} more`);
    super("InvalidArgument", `configuration refused: ${lines.join("\n")}`);
  }
}

/** A value for a message: JSON of at most 60 characters. */
export function show(value: unknown): string {
  const text = typeof value === "number" ? String(value) : (jsonOf(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
