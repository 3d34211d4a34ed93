import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { ROOT } from "../run.ts";

/** A source file that is neither a test nor generated. */
export interface Source {
  /** Relative to the repository's root. */
  readonly file: string;
  readonly text: string;
}

const OTHERS = /\.test\.ts$|\/testing(\/|\.ts$)|\/fixtures\/|\/generated\//;

/** Reads all sources in the directories, sorted by path. */
export function readSources(directories: readonly string[] = ["src", "guest-agent/src"]): Source[] {
  return readTree(directories).filter(({ file }) => !OTHERS.test(file));
}

/** Reads all TypeScript files in the directories, tests included, sorted by path. */
export function readTree(directories: readonly string[] = ["src", "guest-agent", "hack", "test"]): Source[] {
  return directories
    .flatMap((directory) =>
      readdirSync(join(ROOT, directory), { recursive: true, encoding: "utf8" }).map((name) =>
        join(directory, name),
      ),
    )
    .filter((file) => file.endsWith(".ts"))
    .sort()
    .map((file) => ({ file, text: readFileSync(join(ROOT, file), "utf8") }));
}

/** Returns the import specifiers of each file as written, including those of types. */
export function importsOf(sources: readonly Source[]): Map<string, string[]> {
  return new Map(
    sources.map(({ file, text }) => [
      file,
      ts.preProcessFile(text).importedFiles.map(({ fileName }) => fileName),
    ]),
  );
}

/** Parses a source. The nodes of the syntax tree have their parents set. */
export function parse({ file, text }: Source): ts.SourceFile {
  return ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
}

/** Returns the line on which a node starts, after its docstring. */
export function lineOf(node: ts.Node): number {
  return node.getSourceFile().getLineAndCharacterOfPosition(node.getStart()).line + 1;
}
