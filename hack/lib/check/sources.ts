import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { ROOT } from "../run.ts";

/** A file of ours that is neither a test nor generated. */
export interface Source {
  /** Relative to the repository's root. */
  readonly file: string;
  readonly text: string;
}

const OTHERS = /\.test\.ts$|\/testing(\/|\.ts$)|\/fixtures\/|\/generated\//;

/** The sources below these directories, sorted. */
export function readSources(folders: readonly string[] = ["src", "guest-agent/src"]): Source[] {
  return folders
    .flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" }).map((name) =>
        join(folder, name),
      ),
    )
    .filter((file) => file.endsWith(".ts") && !OTHERS.test(file))
    .sort()
    .map((file) => ({ file, text: readFileSync(join(ROOT, file), "utf8") }));
}

/** File -> what it imports, types included, as the imports are written. */
export function importsOf(sources: readonly Source[]): Map<string, string[]> {
  return new Map(
    sources.map(({ file, text }) => [
      file,
      ts.preProcessFile(text).importedFiles.map(({ fileName }) => fileName),
    ]),
  );
}

/** The syntax tree of a source, whose nodes know their parents. */
export function parse({ file, text }: Source): ts.SourceFile {
  return ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
}

/** The line on which a node begins, its comments left out. */
export function lineOf(node: ts.Node): number {
  return node.getSourceFile().getLineAndCharacterOfPosition(node.getStart()).line + 1;
}
