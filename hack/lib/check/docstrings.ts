/**
 * Checks that exports have docstrings:
 *
 *   node --import tsx hack/lib/check/docstrings.ts [PATH]    prints the exports without one (below PATH), and fails if there
 *                                                            are any
 */
import ts from "typescript";
import { lineOf, parse, readSources, type Source } from "./sources.ts";

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

/** Returns the names that a file exports, in the order of their declarations; overloads are several. */
export function exportsOf(source: Source): { readonly name: string; readonly node: ts.Node }[] {
  return parse(source)
    .statements.filter(isExported)
    .flatMap((node) => namesOf(node).map((name) => ({ name, node })));
}

/** Returns the exports of a file without a docstring as `file:line: name`. One of a function's overloads needs one. */
export function undocumented(source: Source): string[] {
  const documented = new Set<string>();
  const found = new Map<string, string>();
  for (const { name, node } of exportsOf(source)) {
    if (ts.getJSDocCommentsAndTags(node).length > 0) documented.add(name);
    else if (!found.has(name)) found.set(name, `${source.file}:${lineOf(node)}: ${name}`);
  }
  return [...found].flatMap(([name, text]) => (documented.has(name) ? [] : [text]));
}

function main(path = ""): void {
  const missing = readSources().flatMap(undocumented);
  for (const name of missing.filter((text) => text.startsWith(path))) {
    console.log(`${name}: has no docstring`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === import.meta.filename) main(process.argv[2]);
