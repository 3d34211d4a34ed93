/** A directory right below `src`, or `guest-agent` -> those that it may import. */
export type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** A block of a document that draws calls: a file at the begin of a line, what it calls below it, indented further. */
const DRAWING = /^```text\n([\s\S]*?)^```/gm;
const STEP = /^( *)((?:src|guest-agent)\/[\w./-]+\.(?:ts|c))\b/;

/** Where a file is in the graph. */
const topOf = (file: string) => file.split("/")[file.startsWith("src/") ? 1 : 0] ?? "";

/** All that each directory can reach, over others, too. Throws if one reaches itself. */
export function reachable(graph: Graph): Map<string, ReadonlySet<string>> {
  const known = new Map<string, ReadonlySet<string>>();
  const visit = (top: string, way: readonly string[]): ReadonlySet<string> => {
    if (way.includes(top))
      throw new Error(`DEPS.list: a cycle of directories: ${[...way, top].join(" -> ")}`);
    const reached = new Set<string>();
    for (const next of graph.get(top) ?? []) {
      reached.add(next);
      for (const further of known.get(next) ?? visit(next, [...way, top])) reached.add(further);
    }
    known.set(top, reached);
    return reached;
  };
  for (const top of graph.keys()) visit(top, []);
  return known;
}

/** The calls that a document draws from a directory to one above it: data must not go back up. */
export function upwardCalls(document: string, graph: Graph): string[] {
  const below = reachable(graph);
  return [...document.matchAll(DRAWING)].flatMap(([, drawing = ""]) => {
    const callers: { readonly depth: number; readonly file: string }[] = [];
    return drawing.split("\n").flatMap((line) => {
      const [, indent = "", file] = STEP.exec(line) ?? [];
      if (file === undefined) return [];
      while ((callers.at(-1)?.depth ?? -1) >= indent.length) callers.pop();
      const caller = callers.at(-1)?.file;
      callers.push({ depth: indent.length, file });
      if (caller === undefined || topOf(caller) === topOf(file)) return [];
      return below.get(topOf(caller))?.has(topOf(file)) ? [] : [`${caller} -> ${file}`];
    });
  });
}
