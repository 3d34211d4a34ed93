/**
 * Checks that files and functions stay small:
 *
 *   node --import tsx hack/lib/check/size.ts    prints what is too large, and fails if there is anything
 */
import ts from "typescript";
import { lineOf, parse, readSources, type Source } from "./sources.ts";

/** Half of the files, and nine in ten of them, have fewer lines than this. */
const MEDIAN = 80;
const NINE_IN_TEN = 180;
/** The lines that every function has at most, its comments left out. */
const FUNCTION = 80;

/** The size below which a part of the files stays. */
export function quantile(sizes: readonly number[], part: number): number {
  const sorted = [...sizes].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}

function nameOf(node: ts.SignatureDeclaration): string {
  const named = node.name ?? (ts.isVariableDeclaration(node.parent) ? node.parent.name : undefined);
  if (ts.isConstructorDeclaration(node)) return "constructor";
  return named?.getText() ?? "a function without a name";
}

/** The functions of a file with more lines than allowed: `file: name`. */
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
    problems.push(`half of the files in src have ${median} lines or more: ${MEDIAN} is the limit`);
  if (nineInTen >= NINE_IN_TEN)
    problems.push(`one file in ten in src has ${nineInTen} lines or more: ${NINE_IN_TEN} is the limit`);
  for (const problem of problems) console.log(problem);
  console.log(`size: ${sizes.length} files in src, median ${median} lines, nine in ten below ${nineInTen}`);
  if (problems.length > 0) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main();
