import ts from "typescript";

/** A template with less text than this, such as `${suite}: ${name}`, would match too many names. */
const LEAST_TEXT = 8;

/** A possible name of a test: a string in the sources, with a pattern if it has interpolations. */
interface TestName {
  readonly text: string;
  readonly pattern: RegExp | undefined;
}

/** Returns every string in a test file, because names of tests may be in tables. */
export function testNames(source: string): TestName[] {
  const found: TestName[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node)) found.push({ text: node.text, pattern: undefined });
    if (ts.isTemplateExpression(node)) {
      const parts = [node.head, ...node.templateSpans.map((span) => span.literal)].map(({ text }) => text);
      const pattern = parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*");
      const text = parts.join("*");
      if (parts.join("").length >= LEAST_TEXT)
        found.push({ text, pattern: new RegExp(`^${pattern}$`, "su") });
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile("test.ts", source, ts.ScriptTarget.Latest));
  return found;
}
