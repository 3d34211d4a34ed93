/**
 * Checks that the files and tests that documents name exist, because a claim without its test is not verified.
 *
 *   node --import tsx hack/lib/check/stale-docs.ts    prints names that do not exist, and fails if there are any
 *
 * A test is named after its file, `src/a.test.ts`: "name", or later in the same section: ("name", "name"). A name may end with
 * … or at a colon in the test's name. In a README, `a.ts` is a file of its directory.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { testNames } from "./test-names.ts";

/** A possible path in a code span; a path in a drawing or a command; a quoted name after a path, a parenthesis or a name. */
const REFERENCE =
  /`([\w./-]+)`|(?<= )((?:src|test|hack|native|guest-agent)\/[\w./-]+\.(?:ts|c))(?= |$)|(?<=\(|`: |", )"((?:[^"\\]|\\.)+)"/g;
/** A path from the repository's root. */
const FROM_ROOT = /^(?:src|test|hack|native|guest-agent|configs|docs)\//;
/** A path from a README's own directory. */
const FROM_README = /\.(?:ts|c)$/;
const TEST_FILE = /\.test\.ts$/;

/**
 * Returns the files and tests that a document names and that do not exist. `read` returns the text of a test file, "" for
 * other files and directories, undefined if there is none. `directory` is that of a README.
 */
export function staleNames(
  document: string,
  read: (path: string) => string | undefined,
  directory?: string,
): string[] {
  return document.split(/^#+ /m).flatMap((section) => {
    let file: string | undefined;
    let known: ReturnType<typeof testNames> = [];
    return [...section.replace(/\s+/g, " ").matchAll(REFERENCE)].flatMap(([, inCode, plain, name = ""]) => {
      const written = inCode ?? plain;
      if (written === undefined)
        return file === undefined || isName(name, known) ? [] : [`${file}: "${name}"`];
      const path = pathOf(written, directory);
      if (path === undefined) return [];
      const text = read(path);
      if (TEST_FILE.test(path)) {
        file = path;
        known = testNames(text ?? "");
      }
      return text === undefined ? [path] : [];
    });
  });
}

/** A link to another file of the repository, without its anchor. */
const LINK = /\]\((?!\w+:|#)([^)#\s]+)/g;

/** Returns the targets of a document's links that do not exist. `directory` is the document's. */
export function deadLinks(document: string, directory: string, exists: (path: string) => boolean): string[] {
  const targets = [...document.matchAll(LINK)].map(([, target = ""]) => join(directory, target));
  return targets.filter((target) => !exists(target));
}

function pathOf(written: string, directory: string | undefined): string | undefined {
  if (FROM_ROOT.test(written)) return written;
  return directory !== undefined && FROM_README.test(written) ? join(directory, written) : undefined;
}

function isName(name: string, known: ReturnType<typeof testNames>): boolean {
  const begins = name.endsWith("…") ? name.slice(0, -1) : `${name}:`;
  return known.some(({ text, pattern }) => text === name || text.startsWith(begins) || pattern?.test(name));
}

function main(): void {
  const root = join(import.meta.dirname, "../../..");
  const listed = ["ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"];
  const files = execFileSync("git", listed, { cwd: root, encoding: "utf8" }).split("\0");
  const read = (path: string) => {
    if (!existsSync(join(root, path))) return undefined;
    return TEST_FILE.test(path) ? readFileSync(join(root, path), "utf8") : "";
  };
  const documents = files.filter(
    (file) => file !== "" && file !== "CHANGELOG.md" && existsSync(join(root, file)),
  );
  const stale = documents.flatMap((file) => {
    const text = readFileSync(join(root, file), "utf8");
    const names = staleNames(text, read, basename(file) === "README.md" ? dirname(file) : undefined);
    const links = deadLinks(text, dirname(file), (path) => existsSync(join(root, path)));
    return [...names, ...links].map((what) => `${file}: does not exist: ${what}`);
  });
  for (const line of stale) console.log(line);
  if (stale.length > 0) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main();
