/**
 * Checks that each line of test/skips.list names a test that exists, so that it cannot allow the skip of another one later.
 *
 *   node --import tsx hack/lib/check/stale-skips.ts    prints lines without a test, and fails if there are any
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSkipList } from "./skips.ts";
import { testNames } from "./test-names.ts";

/** Returns the names in a skip list that no test in the sources can have. */
export function staleSkips(list: string, sources: readonly string[]): string[] {
  const known = sources.flatMap(testNames);
  return parseSkipList(list).flatMap(({ text, name }) =>
    known.some((one) => name.test(one.text) || one.pattern?.test(text)) ? [] : [text],
  );
}

function main(): void {
  const root = join(import.meta.dirname, "../../..");
  const listed = ["ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.test.ts", "test/*.ts"];
  const files = execFileSync("git", listed, { cwd: root, encoding: "utf8" }).split("\0").filter(Boolean);
  const own = /^hack\/lib\/check\/|\/generated\//; // this check's tests contain names of tests that do not exist
  const there = files.filter((file) => !own.test(file) && existsSync(join(root, file)));
  const sources = there.map((file) => readFileSync(join(root, file), "utf8"));
  const stale = staleSkips(readFileSync(join(root, "test/skips.list"), "utf8"), sources);
  for (const name of stale) console.log(`test/skips.list: no test has this name: ${name}`);
  if (stale.length > 0) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main();
