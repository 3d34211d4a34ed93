/** For each directory right below `src`, and for `guest-agent`, those that it may import. */
export type Graph = ReadonlyMap<string, ReadonlySet<string>>;
/** For each file, those that it imports. */
type FileGraph = ReadonlyMap<string, readonly string[]>;

/** A block of a document that draws calls: a file at the start of a line, and its callees below it, indented further. */
const DRAWING = /^```text\n([\s\S]*?)^```/gm;
const STEP = /^( *)((?:src|guest-agent)\/[\w./-]+\.(?:ts|c))\b/;

/** Returns the node of a file's directory. */
const topOf = (file: string) => file.split("/")[file.startsWith("src/") ? 1 : 0] ?? "";

/** Returns all nodes that each node reaches, directly or through others. Throws if one reaches itself. */
export function reachable(graph: Graph | FileGraph): Map<string, ReadonlySet<string>> {
  const known = new Map<string, ReadonlySet<string>>();
  const visit = (node: string, path: readonly string[]): ReadonlySet<string> => {
    if (path.includes(node)) throw new Error(`a cycle of imports: ${[...path, node].join(" -> ")}`);
    const reached = new Set<string>();
    for (const next of graph.get(node) ?? []) {
      reached.add(next);
      for (const further of known.get(next) ?? visit(next, [...path, node])) reached.add(further);
    }
    known.set(node, reached);
    return reached;
  };
  for (const node of graph.keys()) if (!known.has(node)) visit(node, []);
  return known;
}

/**
 * Returns the calls in a document's drawings that go up: to a directory that the caller's may not import or, within one
 * directory, to a file that imports the caller.
 */
export function upwardCalls(document: string, graph: Graph, imports: FileGraph): string[] {
  const [below, belowFile] = [reachable(graph), reachable(imports)];
  const goesDown = (caller: string, callee: string) =>
    topOf(caller) === topOf(callee)
      ? !belowFile.get(callee)?.has(caller)
      : below.get(topOf(caller))?.has(topOf(callee));
  return [...document.matchAll(DRAWING)].flatMap(([, drawing = ""]) => {
    const callers: { readonly depth: number; readonly file: string }[] = [];
    return drawing.split("\n").flatMap((line) => {
      const [, indent = "", file] = STEP.exec(line) ?? [];
      if (file === undefined) return [];
      while ((callers.at(-1)?.depth ?? -1) >= indent.length) callers.pop();
      const caller = callers.at(-1)?.file;
      callers.push({ depth: indent.length, file });
      return caller === undefined || goesDown(caller, file) ? [] : [`${caller} -> ${file}`];
    });
  });
}
