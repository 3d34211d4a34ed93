/** Every configuration key that is not marked planned is read by the code that runs a pod. */
import assert from "node:assert/strict";
import { dirname, join, relative } from "node:path";
import { describe, it } from "node:test";
import ts from "typescript";
import type { Key } from "./key.ts";
import { KEYS } from "./schema.ts";

const root = dirname(dirname(dirname(import.meta.dirname)));
/** Code that only checks, shows or writes configurations does not count, except annotations.ts, which obeys two keys. */
const runsPods = (file: string) =>
  file === "src/config/result/annotations.ts" || !/^src\/(config|cli)\/|\.test\.ts$/.test(file);

/** A section that is passed as a whole to code with a type of its own for it. */
const PASSED_ON = {
  section: "hypervisor.template.",
  file: "src/template/template.ts",
  type: "TemplateSettings",
};

/**
 * The compiler's view of the sources. The properties of `Config` come from a mapped type over the schema, so the compiler
 * knows where in src/config/schema/keys each one is defined.
 */
function program(): ts.Program {
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  return ts.createProgram([join(root, "src/bin/hull-shim.ts"), join(root, "src/bin/shim.ts")], options);
}

/** Where each key is read, by the position at which the schema defines it. */
function readsByDefinition({ sources, checker }: { sources: ts.SourceFile[]; checker: ts.TypeChecker }) {
  const reads = new Map<string, string[]>();
  const add = (symbol: ts.Symbol | undefined, at: ts.Node) => {
    const place = relative(root, at.getSourceFile().fileName);
    for (const declaration of symbol?.declarations ?? [])
      reads.set(positionOf(declaration), [...(reads.get(positionOf(declaration)) ?? []), place]);
  };
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node)) add(checker.getSymbolAtLocation(node.name), node);
    if (ts.isBindingElement(node) && ts.isObjectBindingPattern(node.parent)) {
      const name = node.propertyName ?? node.name;
      if (ts.isIdentifier(name)) add(checker.getTypeAtLocation(node.parent).getProperty(name.text), node);
    }
    if (ts.isElementAccessExpression(node)) {
      const key = checker.getTypeAtLocation(node.argumentExpression);
      const object = checker.getTypeAtLocation(node.expression);
      for (const one of key.isUnion() ? key.types : [key])
        if (one.isStringLiteral()) add(object.getProperty(one.value), node);
    }
    node.forEachChild(visit);
  };
  for (const source of sources) visit(source);
  return reads;
}

const positionOf = (node: ts.Node) => `${relative(root, node.getSourceFile().fileName)}:${node.getStart()}`;

/** The members of an interface, by name, with the positions where they are declared. */
function membersOf(source: ts.SourceFile | undefined, type: string): Map<string, string> {
  const found = source?.statements.find((node) => ts.isInterfaceDeclaration(node) && node.name.text === type);
  assert.ok(found && ts.isInterfaceDeclaration(found), `${PASSED_ON.file} has no interface ${type}`);
  return new Map(found.members.map((member) => [member.name?.getText() ?? "", positionOf(member)]));
}

/** The positions in the schema's sources where keys are defined, by full key name. */
function definitions(checker: ts.TypeChecker, schema: ts.SourceFile): Map<string, string> {
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(schema) as ts.Symbol);
  const config = exported.find(({ name }) => name === "Config") as ts.Symbol;
  const found = new Map<string, string>();
  const walk = (type: ts.Type, prefix: string): void => {
    for (const property of type.getProperties()) {
      const [declaration] = property.declarations ?? [];
      if (!declaration?.getSourceFile().fileName.includes("/src/config/")) continue;
      found.set(prefix + property.name, positionOf(declaration));
      walk(checker.getTypeOfSymbol(property), `${prefix}${property.name}.`);
    }
  };
  walk(checker.getDeclaredTypeOfSymbol(config), "");
  return found;
}

describe("configuration keys", () => {
  const compiled = program();
  const checker = compiled.getTypeChecker();
  const schema = compiled.getSourceFile(join(root, "src/config/schema/schema.ts"));
  assert.ok(schema);
  const defined = definitions(checker, schema);
  const sources = compiled
    .getSourceFiles()
    .filter(({ fileName }) => fileName.startsWith(join(root, "src/")) && runsPods(relative(root, fileName)));
  const reads = readsByDefinition({ sources, checker });
  const passedOn = membersOf(compiled.getSourceFile(join(root, PASSED_ON.file)), PASSED_ON.type);
  const isRead = (name: string) =>
    reads.has(defined.get(name) ?? "") ||
    (name.startsWith(PASSED_ON.section) &&
      reads.has(passedOn.get(name.replace(PASSED_ON.section, "")) ?? ""));
  const keys = (which: (key: Key) => boolean) =>
    [...KEYS].filter(([, key]) => which(key)).map(([name]) => name);

  it("are all found in the compiler's view", () => {
    for (const name of KEYS.keys()) assert.ok(defined.has(name), name);
  });

  it("are read by something, unless they are planned", () => {
    const wanted = keys((key) => !key.planned);
    assert.deepEqual(
      wanted.filter((name) => !isRead(name)),
      [],
    );
  });

  it("are planned only as long as nothing reads them", () => {
    assert.deepEqual(keys((key) => key.planned === true).filter(isRead), []);
  });
});
