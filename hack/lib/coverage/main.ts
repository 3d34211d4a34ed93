/**
 * Reads what Node has left in a directory that NODE_V8_COVERAGE named, and prints how much of src and guest-agent/src was run:
 *
 *   node --import tsx hack/lib/coverage/main.ts DIRECTORY [FILE]    FILE gets a line for each source, the least covered first
 *
 * A line counts if it makes code, and as covered if a part of it was run. Files that no test loads count, too. Node's own
 * report (--experimental-test-coverage) does not follow source maps before Node 22.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { transformSync } from "esbuild";
import { readSources, type Source } from "../check/sources.ts";
import { ROOT } from "../run.ts";
import { type Lines, linesOf, type MappedScript, merge, type ScriptCoverage } from "./lines.ts";

/** What a process leaves. */
interface Report {
  readonly result: readonly (ScriptCoverage & { readonly url: string })[];
  readonly "source-map-cache"?: Readonly<Record<string, MappedScript>>;
}

/** The lines of a file that no test has loaded, made to code as tsx does it. */
function unloaded({ text }: Source): Lines {
  const { code, map } = transformSync(text, { loader: "ts", sourcemap: true, minifyWhitespace: true });
  const lineLengths = code.split("\n").map((line) => line.length);
  return linesOf({ lineLengths, data: JSON.parse(map) });
}

/** File -> its lines, from all reports in a directory. */
function collect(folder: string, sources: readonly Source[]): Map<string, Lines> {
  const files = new Map(sources.map(({ file }) => [pathToFileURL(join(ROOT, file)).href, file]));
  const covered = new Map<string, Lines>();
  for (const name of readdirSync(folder)) {
    const report: Report = JSON.parse(readFileSync(join(folder, name), "utf8"));
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

function main(folder: string, output: string | undefined): void {
  const files = [...collect(folder, readSources())].map(([file, lines]) => ({
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
  console.log(`${percent(files.flatMap(({ lines }) => lines))} % of the lines`);
}

main(process.argv[2] ?? "", process.argv[3]);
