/**
 * Generates the map in docs/architecture.md: the directories of src with the imports that DEPS.list allows, and the first
 * sentence of each README.
 *
 *   node --import tsx hack/lib/check/map.ts            writes the map
 *   node --import tsx hack/lib/check/map.ts --check    fails if the map is stale, a README is missing, or the page draws a
 *                                                      call that goes up
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../run.ts";
import { fileGraph } from "./cycles.ts";
import { type Allowed, parseDeps, SHARED_WITH_GUEST } from "./deps.ts";
import { importsOf, readSources } from "./sources.ts";
import { type Graph, reachable, upwardCalls } from "./ways.ts";

/** The directories whose subdirectories have READMEs. */
const AREAS = ["src", "guest-agent", "native", "hack/lib", "test/testkit"];
/** A directory with more source files than this needs a README. */
const FEW = 5;
const SOURCE = /\.(ts|c|h|S)$/;
const NOT_OURS = /(^|\/)generated(\/|$)/;

const PAGE = "docs/architecture.md";
const BEGIN = "<!-- The map: made by hack/generate from DEPS.list and the READMEs. Do not edit. -->\n";
const END = "<!-- End of the map. -->\n";

/** A directory with its README. */
interface Described {
  readonly directory: string;
  readonly readme: string;
}

/** Returns the graph of the directories right below src. One may import what DEPS.list allows any directory within it. */
export function graphOf(allowed: Allowed): Graph {
  const topOf = (name: string) => name.split("/")[0] ?? name;
  const graph = new Map<string, Set<string>>();
  for (const [name, list] of allowed) {
    const top = topOf(name);
    const targets = graph.get(top) ?? new Set();
    for (const target of list) if (topOf(target) !== top) targets.add(topOf(target));
    graph.set(top, targets);
  }
  return graph;
}

/** Returns the graph as a Mermaid diagram, top first. An arrow is left out if there is a longer path. */
export function drawing(graph: Graph): string {
  const reached = reachable(graph);
  const depth = (top: string) => reached.get(top)?.size ?? 0;
  const lines = [...graph]
    .sort(([a], [b]) => depth(b) - depth(a) || a.localeCompare(b))
    .map(([top, targets]) => {
      const direct = [...targets].filter(
        (one) => ![...targets].some((other) => reached.get(other)?.has(one)),
      );
      return direct.length === 0 ? `  ${top}` : `  ${top} --> ${direct.sort().join(" & ")}`;
    });
  return ["```mermaid", "flowchart TD", ...lines, "```", ""].join("\n");
}

/** Returns the first sentence below a README's title, without links. */
export function firstSentence(readme: string): string {
  const paragraph = readme.split(/\n\n+/).find((one) => one !== "" && !one.startsWith("#")) ?? "";
  const text = paragraph
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/\s+/g, " ")
    .trim();
  return text.replace(/^(.*?[^.]\.)( .*)?$/, "$1");
}

/** Returns a table with a row for each directory. */
export function table(described: readonly Described[]): string {
  const rows = described.map(
    ({ directory, readme }) =>
      `| [\`${directory}\`](../${directory}/README.md) | ${firstSentence(readme).replaceAll("|", "\\|")} |`,
  );
  return ["| directory | what it holds |", "|---|---|", ...rows, ""].join("\n");
}

/** Returns the page with `map` between its two marks. Throws if they are missing. */
export function withMap(page: string, map: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${PAGE}: the marks of the map are missing`);
  return `${page.slice(0, begin + BEGIN.length)}\n${map}\n${page.slice(end)}`;
}

/** Returns the directories in AREAS, each with the number of its own source files. */
function directories(): { directory: string; files: number }[] {
  return AREAS.flatMap((area) => {
    const within = readdirSync(join(ROOT, area), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1));
    return [area, ...within.sort()];
  })
    .filter((directory) => !NOT_OURS.test(directory))
    .map((directory) => ({
      directory,
      files: readdirSync(join(ROOT, directory)).filter((name) => SOURCE.test(name)).length,
    }));
}

/** Reports directories that need a README but have none. */
function withoutReadme(all: ReturnType<typeof directories>, graph: Graph): string[] {
  return all
    .filter(({ directory, files }) => files > FEW || graph.has(directory.slice("src/".length)))
    .filter(({ directory }) => !hasReadme(directory))
    .map(({ directory }) => `${directory}/README.md is missing`);
}

const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const hasReadme = (directory: string) => existsSync(join(ROOT, directory, "README.md"));

function main(): void {
  const check = process.argv.includes("--check");
  const graph = new Map([
    ...graphOf(parseDeps(read("DEPS.list"))),
    ["guest-agent", new Set(SHARED_WITH_GUEST)] as const,
  ]);
  const all = directories();
  const described = all
    .filter(({ directory }) => hasReadme(directory))
    .map(({ directory }) => ({ directory, readme: read(`${directory}/README.md`) }));
  const page = read(PAGE);
  const fresh = withMap(page, `${drawing(graph)}\n${table(described)}`);
  if (!check) writeFileSync(join(ROOT, PAGE), fresh);
  const problems = [
    ...withoutReadme(all, graph),
    ...upwardCalls(page, graph, fileGraph(importsOf(readSources()))).map(
      (call) => `${PAGE}: a call goes up: ${call}`,
    ),
    ...(check && fresh !== page
      ? [`${PAGE}: its map is stale: run hack/generate and commit the result`]
      : []),
  ];
  for (const problem of problems) console.log(problem);
  if (problems.length > 0) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main();
