/**
 * Checks that the words in the last table of docs/contributing/style.md are not used.
 *
 *   node --import tsx hack/lib/check/words.ts    prints each use with its replacement, and fails if there is any
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The files to check, as git pathspecs. */
const CHECKED = [
  "*.md",
  "configs",
  "guest-agent",
  "native",
  "test",
  "src",
  "hack",
  ".ci",
  ".github",
  ".devcontainer",
];

/** The document with the list. */
const STYLE = "docs/contributing/style.md";
/** These contain the words on purpose. */
const EXEMPT = ["", STYLE, "hack/lib/check/words.test.ts"];

/** A row: | `pattern` | replacement |. A pipe in the pattern is written \|, as Markdown needs it. */
const ROW = /^\| `(.+)` \| (.+) \|$/gm;
const HEADING = "## Words that must not come back";

/** What is not prose: code blocks, code spans, link targets, and quotations within a paragraph. */
const QUOTED = /^```[\s\S]*?^```|`[^`]*`|\]\([^)]*\)|"(?:[^"\n]|\n(?!\s*\n))*"/gm;

/** A word or phrase to avoid, and its replacement. */
interface Word {
  readonly pattern: RegExp;
  readonly instead: string;
}

/** A use of such a word. */
interface Use {
  readonly line: number;
  readonly text: string;
  readonly instead: string;
}

/** Returns the words in the table of the style page. */
export function wordsOf(style: string): Word[] {
  const table = style.slice(style.indexOf(HEADING));
  return [...table.matchAll(ROW)].map(([, pattern = "", instead = ""]) => {
    const source = pattern.replaceAll("\\|", "|").replaceAll(" ", "[\\s#*/]+");
    return { pattern: new RegExp(`\\b(?:${source})\\b`, "gi"), instead };
  });
}

/** Returns the uses of `words` in `text`, sorted by line. */
export function usesOf(words: readonly Word[], text: string): Use[] {
  const found = words.flatMap(({ pattern, instead }) =>
    [...text.matchAll(pattern)].map(({ 0: use, index }) => ({
      line: text.slice(0, index).split("\n").length,
      text: use.replace(/\s+/g, " "),
      instead,
    })),
  );
  return found.sort((a, b) => a.line - b.line);
}

/** Returns a document with everything but prose replaced by blanks, so that lines keep their numbers. */
export function proseOf(document: string): string {
  return document.replace(QUOTED, (quoted) => quoted.replace(/\S/g, " "));
}

function main(): void {
  const root = join(import.meta.dirname, "../../..");
  const read = (file: string) => readFileSync(join(root, file), "utf8");
  const words = wordsOf(read(STYLE));
  const listed = ["ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", ...CHECKED];
  const files = execFileSync("git", listed, { cwd: root, encoding: "utf8" }).split("\0");
  for (const file of files) {
    if (EXEMPT.includes(file) || !existsSync(join(root, file))) continue;
    const text = file.endsWith(".md") ? proseOf(read(file)) : read(file);
    for (const use of usesOf(words, text)) {
      console.log(`${file}:${use.line}: "${use.text}": write: ${use.instead}`);
      process.exitCode = 1;
    }
  }
}

if (process.argv[1] === import.meta.filename) main();
