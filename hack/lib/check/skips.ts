/**
 * Checks that a run skipped only what test/skips.list allows: a suite that quietly leaves tests out proves nothing.
 *
 *   node --import tsx hack/lib/check/skips.ts REPORT    prints every other skip in node:test's spec report REPORT
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A test, or a whole suite of them, that was left out. */
export interface Skip {
  readonly name: string;
  /** As the test gives it; `SKIP` or `TODO` where it gives none. */
  readonly reason: string;
}

/** A line of the list: what may be skipped, and the reason that the test must give for it. */
interface Allowed {
  /** As the list has it. */
  readonly text: string;
  readonly name: RegExp;
  readonly reason: RegExp;
}

/** `﹣ name (0.1ms) # reason`; a suite that is skipped is in the report, but not in its totals. */
const SKIPPED = /^\s*﹣ (.*?) \([\d.]+ms\) # (.*)$/u;
/** A test that is still to be done is reported as one that passed, even when it fails. */
const TODO = /^\s*[✔✖⚠] (.*?) \([\d.]+ms\) # (TODO.*)$/u;
const TOTAL = /^ℹ skipped (\d+)$/mu;

const pattern = (text: string) =>
  new RegExp(`^${text.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*")}$`, "u");

/**
 * The list's lines: test name, tab, reason; `*` in either stands for any text.
 * @throws Error at a line that is not of that form.
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
 * What node:test's spec report says was skipped or is still to be done.
 * @throws Error when the report has no total of skipped tests, or a higher one than it has lines for.
 */
export function skipsIn(report: string): Skip[] {
  const [once = ""] = report.split(/^✖ failing tests:$/mu); // a test that failed is named again below it
  const skips = once.split("\n").flatMap((line) => {
    const [, name, reason] = SKIPPED.exec(line) ?? TODO.exec(line) ?? [];
    return name === undefined || reason === undefined ? [] : [{ name, reason }];
  });
  const total = Number(TOTAL.exec(report)?.[1] ?? Number.NaN);
  if (!(total <= skips.length))
    throw new Error(`the report counts ${total} skipped tests and names ${skips.length}`);
  return skips;
}

/** The skips that no line of the list allows, with the reason given for each. */
export function unlistedSkips(report: string, allowed: readonly Allowed[]): Skip[] {
  return skipsIn(report).filter(
    (skip) => !allowed.some(({ name, reason }) => name.test(skip.name) && reason.test(skip.reason)),
  );
}

/** One line for each unlisted skip, or one that says why the report or the list cannot be read. */
function complaints(report: string): string[] {
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
  for (const line of complaints(report)) console.log(line);
}

if (process.argv[1] === import.meta.filename) main(process.argv[2] ?? "");
