/**
 * Prints the coverage of src and guest-agent/src, from the reports in a directory that NODE_V8_COVERAGE named:
 *
 *   node --import tsx hack/lib/coverage/main.ts DIRECTORY [FILE]    FILE gets a line for each source, the least covered first
 *
 * A line counts if it generates code, and is covered if any of it was executed. Files that no test loads count, too. Before
 * Node 22, Node's own report (--experimental-test-coverage) does not support source maps.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { transformSync } from "esbuild";
import { readSources, type Source } from "../check/sources.ts";
import { ROOT } from "../run.ts";
import { type Lines, linesOf, type MappedScript, merge, type ScriptCoverage } from "./lines.ts";

/** The report of one process. */
interface Report {
  readonly result: readonly (ScriptCoverage & { readonly url: string })[];
  readonly "source-map-cache"?: Readonly<Record<string, MappedScript>>;
}

/** Returns the lines of a file that no test has loaded, compiled as tsx does. */
function unloaded({ text }: Source): Lines {
  const { code, map } = transformSync(text, { loader: "ts", sourcemap: true, minifyWhitespace: true });
  const lineLengths = code.split("\n").map((line) => line.length);
  return linesOf({ lineLengths, data: JSON.parse(map) });
}

/** Returns the lines of each file, from all reports in a directory. */
function collect(directory: string, sources: readonly Source[]): Map<string, Lines> {
  const files = new Map(sources.map(({ file }) => [pathToFileURL(join(ROOT, file)).href, file]));
  const covered = new Map<string, Lines>();
  for (const name of readdirSync(directory)) {
    const report: Report = JSON.parse(readFileSync(join(directory, name), "utf8"));
    for (const script of report.result) {
      const file = files.get(script.url);
      const map = report["source-map-cache"]?.[script.url];
      if (!file || !map?.data) continue;
      const lines = covered.get(file) ?? new Map();
      merge(lines, linesOf(map, script));
      covered.set(file, lines);
    }
  }
  return new Map(sources.map((source) => [source.file, covered.get(source.file) ?? unloaded(source)]));
}

function percent(lines: readonly boolean[]): string {
  return ((100 * lines.filter((wasRun) => wasRun).length) / lines.length).toFixed(1);
}

function main(directory: string, output: string | undefined): void {
  const files = [...collect(directory, readSources())].map(([file, lines]) => ({
    file,
    lines: [...lines.values()],
  }));
  const rows = files
    .filter(({ lines }) => lines.length > 0)
    .map(({ file, lines }) => ({
      file,
      share: percent(lines),
      missed: lines.filter((wasRun) => !wasRun).length,
    }))
    .sort((a, b) => Number(a.share) - Number(b.share));
  const table = rows.map(
    ({ file, share, missed }) => `${share.padStart(5)} %  ${String(missed).padStart(4)} missed  ${file}\n`,
  );
  if (output !== undefined) writeFileSync(output, table.join(""));
  console.log(`${percent(files.flatMap(({ lines }) => lines))} % of lines`);
}

main(process.argv[2] ?? "", process.argv[3]);
