const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** A position in generated code and its source line; lines and columns count from 0. */
interface Segment {
  readonly line: number;
  readonly column: number;
  readonly sourceLine: number;
}

/** Decodes the numbers of a segment (base 64 VLQ): five bits per digit, the lowest first, the sign in the lowest bit. */
function numbers(text: string): number[] {
  const found: number[] = [];
  let value = 0;
  let shift = 0;
  for (const char of text) {
    const digit = DIGITS.indexOf(char);
    if (digit < 0) throw new Error(`source map: unexpected character ${char}`);
    value += (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    found.push(value & 1 ? -(value >>> 1) : value >>> 1);
    value = 0;
    shift = 0;
  }
  return found;
}

/** Decodes the `mappings` (ECMA-426) of a source map with a single source. */
export function segments(mappings: string): Segment[] {
  let sourceLine = 0;
  return mappings.split(";").flatMap((group, line) => {
    let column = 0;
    return group.split(",").flatMap((text) => {
      const [columns = 0, source, lines] = numbers(text);
      column += columns;
      if (source === undefined || lines === undefined) return [];
      sourceLine += lines;
      return [{ line, column, sourceLine }];
    });
  });
}
