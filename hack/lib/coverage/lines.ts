import { segments } from "./source-map.ts";

/** The part of V8's report on a script that is used: how often each range of its text was executed. */
export interface ScriptCoverage {
  readonly functions: readonly {
    readonly ranges: readonly {
      readonly startOffset: number;
      readonly endOffset: number;
      readonly count: number;
    }[];
  }[];
}

/** Node's record of a script with a source map. */
export interface MappedScript {
  readonly lineLengths: readonly number[];
  readonly data: { readonly mappings: string };
}

/** For each line of a source that generates code, whether any of it was executed. */
export type Lines = Map<number, boolean>;

/** Returns for each character of a script whether its innermost range was executed. */
function executed({ functions }: ScriptCoverage, length: number): Uint8Array {
  const run = new Uint8Array(length);
  const ranges = functions.flatMap((each) => each.ranges);
  const size = (range: { startOffset: number; endOffset: number }) => range.endOffset - range.startOffset;
  for (const range of [...ranges].sort((a, b) => size(b) - size(a)))
    run.fill(range.count > 0 ? 1 : 0, range.startOffset, range.endOffset);
  return run;
}

/** Returns the lines of a script's source. Without a report, none of them was executed. */
export function linesOf({ lineLengths, data }: MappedScript, coverage?: ScriptCoverage): Lines {
  const starts = [0];
  for (const length of lineLengths) starts.push((starts.at(-1) ?? 0) + length + 1);
  const run = coverage ? executed(coverage, starts.at(-1) ?? 0) : undefined;
  const lines: Lines = new Map();
  for (const { line, column, sourceLine } of segments(data.mappings)) {
    const wasRun = run?.[(starts[line] ?? 0) + column] === 1;
    lines.set(sourceLine, wasRun || lines.get(sourceLine) === true);
  }
  return lines;
}

/** Adds the lines that another process has executed to `into`. */
export function merge(into: Lines, more: Lines): void {
  for (const [line, wasRun] of more) into.set(line, wasRun || into.get(line) === true);
}
