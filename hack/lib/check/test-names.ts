import ts from "typescript";

/** A template with less text than this between its holes says nothing: `${suite}: ${name}`. */
const LEAST_TEXT = 8;

/** What a test may be called: a text of the sources, with a pattern where it has holes. */
export interface TestName {
  readonly text: string;
  readonly pattern: RegExp | undefined;
}

/** Every string of a test file, because names of tests also stand in tables. */
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
