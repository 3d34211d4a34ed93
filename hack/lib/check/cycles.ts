import { dirname, join } from "node:path";

/** The imports of files, by their paths instead of as they are written; what is not among the files is left out. */
function graphOf(imports: ReadonlyMap<string, readonly string[]>): Map<string, string[]> {
  return new Map(
    [...imports].map(([file, specifiers]) => {
      const relative = specifiers.filter((specifier) => specifier.startsWith("."));
      const targets = relative.map((specifier) => join(dirname(file), specifier));
      return [file, targets.filter((target) => imports.has(target))];
    }),
  );
}

/** The shortest way from a file back to itself, both ends named, or undefined. */
function shortestCycle(start: string, graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const paths = [[start]];
  const seen = new Set<string>();
  for (const path of paths) {
    for (const target of graph.get(path.at(-1) ?? "") ?? []) {
      if (target === start) return [...path, target];
      if (seen.has(target)) continue;
      seen.add(target);
      paths.push([...path, target]);
    }
  }
  return undefined;
}

/** The shortest cycle of each file that imports itself through others: each cycle once, read from the first of its files. */
export function cycles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const graph = graphOf(imports);
  const found = new Map<string, string>();
  for (const file of [...graph.keys()].sort()) {
    const cycle = shortestCycle(file, graph);
    if (!cycle) continue;
    const members = cycle.slice(1).sort().join(" ");
    if (!found.has(members)) found.set(members, cycle.join(" -> "));
  }
  return [...found.values()];
}
