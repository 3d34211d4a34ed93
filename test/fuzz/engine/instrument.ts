import ts from "typescript";
import { COUNTERS } from "./coverage.ts";

/**
 * Compiles TypeScript to JavaScript that counts how often each place is reached where control flow branches:
 * functions, branches, cases, loops, operands that are not always evaluated. `first` is the number of the
 * first place. Returns the code and the number after the last place.
 */
export function instrument(text: string, file: string, first: number): { code: string; next: number } {
  let next = first;
  const transform: ts.TransformerFactory<ts.SourceFile> = (context) => {
    const { factory } = context;
    const count = () =>
      factory.createPostfixIncrement(
        factory.createElementAccessExpression(factory.createIdentifier(COUNTERS), next++),
      );
    const counted = (expression: ts.Expression) =>
      factory.createParenthesizedExpression(factory.createComma(count(), expression));
    const block = (statement: ts.Statement) =>
      factory.createBlock([factory.createExpressionStatement(count()), statement], true);

    const visit = (node: ts.Node): ts.Node => {
      const done = ts.visitEachChild(node, visit, context);
      if (ts.isIfStatement(done)) {
        return factory.updateIfStatement(
          done,
          done.expression,
          block(done.thenStatement),
          block(done.elseStatement ?? factory.createBlock([])),
        );
      }
      if (ts.isConditionalExpression(done)) {
        return factory.updateConditionalExpression(
          done,
          done.condition,
          done.questionToken,
          counted(done.whenTrue),
          done.colonToken,
          counted(done.whenFalse),
        );
      }
      if (ts.isBinaryExpression(done) && SHORT_CIRCUITS.has(done.operatorToken.kind)) {
        return factory.updateBinaryExpression(done, done.left, done.operatorToken, counted(done.right));
      }
      if (ts.isBlock(done) && hasOwnPlace(node.parent)) {
        return factory.updateBlock(done, [factory.createExpressionStatement(count()), ...done.statements]);
      }
      if (ts.isCaseOrDefaultClause(done) && done.statements.length > 0) {
        const statements = [factory.createExpressionStatement(count()), ...done.statements];
        return ts.isCaseClause(done)
          ? factory.updateCaseClause(done, done.expression, statements)
          : factory.updateDefaultClause(done, statements);
      }
      if (ts.isArrowFunction(done) && !ts.isBlock(done.body)) {
        return factory.updateArrowFunction(
          done,
          done.modifiers,
          done.typeParameters,
          done.parameters,
          done.type,
          done.equalsGreaterThanToken,
          counted(done.body),
        );
      }
      return done;
    };
    return (source) => ts.visitEachChild(source, visit, context);
  };
  const { outputText } = ts.transpileModule(text, {
    fileName: file,
    compilerOptions: {
      target: ts.ScriptTarget.ESNext,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
    transformers: { after: [transform] },
  });
  return { code: outputText, next };
}

const SHORT_CIRCUITS = new Set<ts.SyntaxKind>([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
]);

/** Returns whether a block of this parent is executed conditionally. */
function hasOwnPlace(parent: ts.Node | undefined): boolean {
  return (
    parent !== undefined &&
    (ts.isFunctionLike(parent) ||
      ts.isCatchClause(parent) ||
      ts.isIterationStatement(parent, false) ||
      (ts.isTryStatement(parent) && parent.finallyBlock === undefined))
  );
}
