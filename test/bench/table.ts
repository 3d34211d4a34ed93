import type { Omission, Row } from "./report.ts";

const HEADER = ["measure", "subject", "unit", "n", "min", "median", "max", "ratio"];

/** Three significant digits: measurements on a shared machine are not more precise. */
export function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

function cells(row: Row): string[] {
  const ratio = row.ratio === undefined ? "" : `${digits(row.ratio)}x ${row.base}`;
  return [
    row.measure,
    row.subject,
    row.unit,
    String(row.count),
    digits(row.min),
    digits(row.median),
    digits(row.max),
    ratio,
  ];
}

/** Returns the table for a terminal. */
export function textTable(rows: readonly Row[]): string {
  return columns([HEADER, ...rows.map(cells)]);
}

/** Returns lines in aligned columns; the first three are text. A measure's name is on its first line only. */
export function columns(lines: readonly (readonly string[])[]): string {
  const count = lines[0]?.length ?? 0;
  const widths = Array.from({ length: count }, (_, column) =>
    Math.max(...lines.map((line) => (line[column] ?? "").length)),
  );
  let last = "";
  return lines
    .map((line) => {
      const [measure = "", ...rest] = line;
      const shown = [measure === last ? "" : measure, ...rest];
      last = measure;
      return shown
        .map((cell, column) =>
          column < 3 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join("  ")
        .trimEnd();
    })
    .join("\n");
}

export function markdownTable(rows: readonly Row[]): string {
  const line = (all: readonly string[]) => `| ${all.join(" | ")} |`;
  const alignment = HEADER.map((_, column) => (column < 3 ? "---" : "---:"));
  return [line(HEADER), line(alignment), ...rows.map((row) => line(cells(row)))].join("\n");
}

export function omissionLines(omissions: readonly Omission[]): string[] {
  return omissions.map(({ measure, subject, reason }) => `not measured: ${measure}, ${subject}: ${reason}`);
}

/** Replaces the text between the two markers of a page, `<!-- MARKER -->` and `<!-- /MARKER -->`. Throws if they are missing. */
export function fillMarkdown(page: string, marker: string, content: string): string {
  const open = `<!-- ${marker} -->`;
  const close = `<!-- /${marker} -->`;
  const start = page.indexOf(open);
  const end = page.indexOf(close);
  if (start < 0 || end < start) throw new Error(`the markers ${open} and ${close} are not in the page`);
  return `${page.slice(0, start + open.length)}\n\n${content}\n\n${page.slice(end)}`;
}
