import { dirname, join } from "node:path";

/** Resolves relative imports to paths, and drops those of other files. */
export function fileGraph(imports: ReadonlyMap<string, readonly string[]>): Map<string, string[]> {
  return new Map(
    [...imports].map(([file, specifiers]) => {
      const relative = specifiers.filter((specifier) => specifier.startsWith("."));
      const targets = relative.map((specifier) => join(dirname(file), specifier));
      return [file, targets.filter((target) => imports.has(target))];
    }),
  );
}

/** Returns the shortest path from a file back to itself, including both ends; undefined if there is none. */
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

/** Returns the shortest import cycle of each file that is in one. Each cycle is listed once, from its first file on. */
export function cycles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const graph = fileGraph(imports);
  const found = new Map<string, string>();
  for (const file of [...graph.keys()].sort()) {
    const cycle = shortestCycle(file, graph);
    if (!cycle) continue;
    const members = cycle.slice(1).sort().join(" ");
    if (!found.has(members)) found.set(members, cycle.join(" -> "));
  }
  return [...found.values()];
}
