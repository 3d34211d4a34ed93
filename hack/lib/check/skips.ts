/**
 * Checks that a run skipped only tests that test/skips.list allows.
 *
 *   node --import tsx hack/lib/check/skips.ts REPORT    prints all other skips in node:test's spec report REPORT
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A skipped test or suite. */
interface Skip {
  readonly name: string;
  /** The test's reason; `SKIP` or `TODO` if it gives none. */
  readonly reason: string;
}

/** A line of the list: a test that may be skipped, and the reason that it must give. */
interface Allowed {
  /** The name as written in the list. */
  readonly text: string;
  readonly name: RegExp;
  readonly reason: RegExp;
}

/** `﹣ name (0.1ms) # reason`. A skipped suite is in the report, but not in its totals. */
const SKIPPED = /^\s*﹣ (.*?) \([\d.]+ms\) # (.*)$/u;
/** A test that is marked as TODO is reported as passed, even if it fails. */
const TODO = /^\s*[✔✖⚠] (.*?) \([\d.]+ms\) # (TODO.*)$/u;
const TOTAL = /^ℹ skipped (\d+)$/mu;

const pattern = (text: string) =>
  new RegExp(`^${text.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*")}$`, "u");

/**
 * Parses a skip list. Each line is a test name, a tab and a reason; `*` in either matches any text. Throws for other lines.
 */
export function parseSkipList(text: string): Allowed[] {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("#"))
    .map((line) => {
      const [name, reason, ...more] = line.split("\t");
      if (!name || !reason || more.length > 0)
        throw new Error(`skips.list: ${JSON.stringify(line)} is not: test name, tab, reason`);
      return { text: name, name: pattern(name), reason: pattern(reason) };
    });
}

/**
 * Returns the tests that node:test's spec report lists as skipped or TODO. Throws if the report has no total of skipped
 * tests, or lists fewer than the total.
 */
export function skipsIn(report: string): Skip[] {
  const [once = ""] = report.split(/^✖ failing tests:$/mu); // the report repeats failed tests below this line
  const skips = once.split("\n").flatMap((line) => {
    const [, name, reason] = SKIPPED.exec(line) ?? TODO.exec(line) ?? [];
    return name === undefined || reason === undefined ? [] : [{ name, reason }];
  });
  const total = Number(TOTAL.exec(report)?.[1] ?? Number.NaN);
  if (!(total <= skips.length))
    throw new Error(`the report counts ${total} skipped tests and names ${skips.length}`);
  return skips;
}

/** Returns the skips in a report that no line of the list allows. */
export function unlistedSkips(report: string, allowed: readonly Allowed[]): Skip[] {
  return skipsIn(report).filter(
    (skip) => !allowed.some(({ name, reason }) => name.test(skip.name) && reason.test(skip.reason)),
  );
}

/** Returns a line for each unlisted skip, or the error if the report or the list is malformed. */
function problems(report: string): string[] {
  try {
    const list = readFileSync(join(import.meta.dirname, "../../../test/skips.list"), "utf8");
    return unlistedSkips(readFileSync(report, "utf8"), parseSkipList(list)).map(
      ({ name, reason }) => `skipped, but not in test/skips.list: ${name}: ${reason}`,
    );
  } catch (error) {
    return [`${report}: skips: ${(error as Error).message}`];
  }
}

function main(report: string): void {
  for (const line of problems(report)) console.log(line);
}

if (process.argv[1] === import.meta.filename) main(process.argv[2] ?? "");
