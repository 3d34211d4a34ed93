import type { Position, Problem } from "../schema/problem.ts";

/** A parsed document: plain JSON, and where each key stands, by its path in the form of `at`. */
export interface ParsedDocument {
  readonly value: unknown;
  readonly positions: Readonly<Record<string, Position>>;
  readonly problems: readonly Problem[];
}

/** The form in which paths are looked up in `positions`. */
export const at = (path: readonly (string | number)[]): string => JSON.stringify(path);
