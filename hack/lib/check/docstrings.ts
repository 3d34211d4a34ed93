/**
 * Checks that what a file exports has a docstring:
 *
 *   node --import tsx hack/lib/check/docstrings.ts           fails if more exports than MISSING have none
 *   node --import tsx hack/lib/check/docstrings.ts src/pod   prints those below a path
 */
import ts from "typescript";
import { lineOf, parse, readSources, type Source } from "./sources.ts";

/** How many exports have no docstring yet. It may only become smaller. */
const MISSING = 0;

type Exported =
  | ts.FunctionDeclaration
  | ts.ClassDeclaration
  | ts.InterfaceDeclaration
  | ts.TypeAliasDeclaration
  | ts.EnumDeclaration
  | ts.VariableStatement;

function isExported(node: ts.Node): node is Exported {
  const isDeclaration =
    ts.isFunctionDeclaration(node) ||
    ts.isClassDeclaration(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isEnumDeclaration(node) ||
    ts.isVariableStatement(node);
  return isDeclaration && (node.modifiers ?? []).some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
}

function namesOf(node: Exported): string[] {
  if (!ts.isVariableStatement(node)) return [node.name?.text ?? "default"];
  return node.declarationList.declarations.map(({ name }) => name.getText());
}

/** The exports of a file without a docstring: `file:line: name`. Of a function's overloads, one docstring is enough. */
export function undocumented(source: Source): string[] {
  const documented = new Set<string>();
  const found = new Map<string, string>();
  for (const node of parse(source).statements) {
    if (!isExported(node)) continue;
    for (const name of namesOf(node)) {
      if (ts.getJSDocCommentsAndTags(node).length > 0) documented.add(name);
      else if (!found.has(name)) found.set(name, `${source.file}:${lineOf(node)}: ${name}`);
    }
  }
  return [...found].flatMap(([name, text]) => (documented.has(name) ? [] : [text]));
}

function main(path: string | undefined): void {
  const missing = readSources().flatMap(undocumented);
  if (path !== undefined) {
    for (const name of missing.filter((text) => text.startsWith(path))) console.log(name);
    return;
  }
  console.log(
    `${missing.length} exports have no docstring, ${MISSING} is the limit (MISSING, which may be lowered).`,
  );
  console.log("Those of a file: node --import tsx hack/lib/check/docstrings.ts FILE");
  if (missing.length > MISSING) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main(process.argv[2]);
