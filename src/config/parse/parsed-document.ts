import type { Position, Problem } from "../schema/problem.ts";

/** A parsed document: plain JSON, and the position of each key by its path in the form of `at`. */
export interface ParsedDocument {
  readonly value: unknown;
  readonly positions: Readonly<Record<string, Position>>;
  readonly problems: readonly Problem[];
}

/** A path as a key of `positions`. */
export const at = (path: readonly (string | number)[]): string => JSON.stringify(path);
