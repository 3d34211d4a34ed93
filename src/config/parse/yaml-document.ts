import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from "yaml";
import type { Position, Problem } from "../schema/problem.ts";
import { at, type ParsedDocument } from "./parsed-document.ts";

const MAX_DEPTH = 16;

/**
 * Parses one YAML 1.2 document (core schema). Anchors, aliases and tags are refused: a configuration needs none, and
 * with them a small file can expand to a large one. Never throws: errors are in `problems`.
 */
export function parseYaml(text: string, source: string): ParsedDocument {
  const positions: Record<string, Position> = {};
  const problems: Problem[] = [];
  const counter = new LineCounter();
  const position = (offset: number): Position => {
    const { line, col } = counter.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const problem = (offset: number, rule: string, advice?: string) => {
    problems.push({ source, position: position(offset), rule, advice });
  };

  const plain = (node: Node | null, path: (string | number)[], offset: number): unknown => {
    const start = node?.range?.[0] ?? offset;
    if (path.length > MAX_DEPTH) {
      problem(start, `nested more than ${MAX_DEPTH} levels deep`);
      return undefined;
    }
    if (node === null) return null;
    if (isAlias(node)) {
      problem(start, `alias *${node.source} is not allowed`, "write the value out");
      return undefined;
    }
    if (node.tag && !node.tag.startsWith("tag:yaml.org,2002:")) {
      problem(start, `tag ${node.tag} is not allowed`, "leave it out");
    }
    if ("anchor" in node && node.anchor) {
      problem(start, `anchor &${node.anchor} is not allowed`, "leave it out");
    }
    if (isScalar(node)) return node.value;
    if (isSeq(node)) {
      return node.items.map((item, index) => {
        const child = item as Node;
        positions[at([...path, index])] = position(child.range?.[0] ?? start);
        return plain(child, [...path, index], start);
      });
    }
    if (!isMap(node)) return undefined;
    const result: Record<string, unknown> = Object.create(null);
    for (const pair of node.items) {
      const key = pair.key as Node | null;
      const keyStart = key?.range?.[0] ?? start;
      if (!isScalar(key) || typeof key.value !== "string") {
        problem(keyStart, "a key must be a plain string");
        continue;
      }
      positions[at([...path, key.value])] = position(keyStart);
      result[key.value] = plain(pair.value as Node | null, [...path, key.value], keyStart);
    }
    return result;
  };

  try {
    const documents = parseAllDocuments(text, { lineCounter: counter, prettyErrors: false, version: "1.2" });
    const [first, second] = "empty" in documents ? [] : documents;
    // Only the first error: those that follow are mostly its consequences.
    const wrong = first?.errors[0] ?? first?.warnings[0];
    if (wrong?.code === "DUPLICATE_KEY") problem(wrong.pos[0], "duplicate key", "keep one of them");
    else if (wrong) problem(wrong.pos[0], `not YAML: ${wrong.message}`);
    else if (second) problem(second.range[0], "a second document starts here", "keep one document per file");
    const value = problems.length > 0 || !first ? null : plain(first.contents, [], 0);
    return { value, positions, problems };
  } catch (thrown) {
    // The parser recurses: a document of many brackets overflows the stack (RangeError).
    const why = thrown instanceof RangeError ? "nested too deeply" : String(thrown);
    return { value: null, positions, problems: [{ source, rule: `not YAML: ${why}` }] };
  }
}
