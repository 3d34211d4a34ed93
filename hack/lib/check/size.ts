/**
 * Checks that files and functions stay small:
 *
 *   node --import tsx hack/lib/check/size.ts    prints what is too large, and fails if anything is
 */
import ts from "typescript";
import { lineOf, parse, readSources, type Source } from "./sources.ts";

/** Half of the files have fewer lines than this. */
const MEDIAN = 80;
/** Nine in ten files have fewer lines than this. */
const NINE_IN_TEN = 180;
/** The maximum number of lines of a function, not counting its docstring. */
const FUNCTION = 80;

/** Returns a quantile of the sizes, such as the median for 0.5; 0 if there are none. */
export function quantile(sizes: readonly number[], part: number): number {
  const sorted = [...sizes].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}

function nameOf(node: ts.SignatureDeclaration): string {
  const named = node.name ?? (ts.isVariableDeclaration(node.parent) ? node.parent.name : undefined);
  if (ts.isConstructorDeclaration(node)) return "constructor";
  return named?.getText() ?? "an anonymous function";
}

/** Returns the functions of a file with more than `most` lines as `file: name`. */
export function longFunctions(source: Source, most = FUNCTION): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node)) {
      const end = node.getSourceFile().getLineAndCharacterOfPosition(node.getEnd()).line + 1;
      if (end - lineOf(node) + 1 > most) found.push(`${source.file}: ${nameOf(node)}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(parse(source));
  return found;
}

function main(): void {
  const sources = readSources();
  const sizes = sources
    .filter(({ file }) => file.startsWith("src/"))
    .map(({ text }) => text.trimEnd().split("\n").length);
  const [median, nineInTen] = [quantile(sizes, 0.5), quantile(sizes, 0.9)];
  const problems = sources
    .flatMap((source) => longFunctions(source))
    .map((name) => `a function of more than ${FUNCTION} lines: ${name}`);
  if (median >= MEDIAN)
    problems.push(`half of the files in src have ${median} lines or more; the limit is ${MEDIAN}`);
  if (nineInTen >= NINE_IN_TEN)
    problems.push(`one file in ten in src has ${nineInTen} lines or more; the limit is ${NINE_IN_TEN}`);
  for (const problem of problems) console.log(problem);
  console.log(`size: ${sizes.length} files in src, median ${median} lines, nine in ten below ${nineInTen}`);
  if (problems.length > 0) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main();
