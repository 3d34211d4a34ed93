/**
 * Checks that every export is imported by another file:
 *
 *   node --import tsx hack/lib/check/unused-exports.ts    prints the exports that no file imports, and fails if there are any
 */
import { dirname, join } from "node:path";
import ts from "typescript";
import { exportsOf } from "./docstrings.ts";
import { lineOf, parse, readSources, readTree, type Source } from "./sources.ts";

/** What a file imports or re-exports from another: a name, or * for a namespace, an import() or a side effect. */
interface Import {
  readonly from: string;
  readonly name: string;
}

/** Returns what a file imports from files next to it, by their paths. */
function importsFrom(source: Source): Import[] {
  const found: Import[] = [];
  const add = (specifier: ts.Expression | undefined, names: readonly string[]) => {
    if (!specifier || !ts.isStringLiteral(specifier)) return;
    const from = join(dirname(source.file), specifier.text);
    for (const name of names) found.push({ from, name });
  };
  const namesOf = (elements: readonly (ts.ImportSpecifier | ts.ExportSpecifier)[]) =>
    elements.map(({ propertyName, name }) => (propertyName ?? name).text);
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      const bindings = node.importClause?.namedBindings;
      add(node.moduleSpecifier, bindings && ts.isNamedImports(bindings) ? namesOf(bindings.elements) : ["*"]);
    } else if (ts.isExportDeclaration(node)) {
      const clause = node.exportClause;
      add(node.moduleSpecifier, clause && ts.isNamedExports(clause) ? namesOf(clause.elements) : ["*"]);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], ["*"]);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal, [node.qualifier?.getText().split(".")[0] ?? "*"]);
    }
    ts.forEachChild(node, visit);
  };
  visit(parse(source));
  return found;
}

/** Returns the exports of `sources` that no file of `importers` imports, as `file:line: name`. */
export function unusedExports(sources: readonly Source[], importers: readonly Source[]): string[] {
  const used = new Set(importers.flatMap(importsFrom).map(({ from, name }) => `${from}#${name}`));
  return sources.flatMap((source) => {
    if (used.has(`${source.file}#*`)) return [];
    return exportsOf(source)
      .filter(({ name }) => !used.has(`${source.file}#${name}`))
      .map(({ name, node }) => `${source.file}:${lineOf(node)}: ${name}`);
  });
}

function main(): void {
  for (const name of unusedExports(readSources(), readTree())) {
    console.log(`${name}: no other file imports it; do not export it`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === import.meta.filename) main();
