import type { Result } from "./run.ts";

/** Prints the result of a case. */
export function printResult({ fault, problems, warnings, noticedMs, tookMs }: Result): void {
  const notice = noticedMs === undefined ? "" : `, noticed after ${noticedMs} ms`;
  console.log(`${problems.length === 0 ? "ok     " : "FAILED "} ${fault.name} (${tookMs} ms${notice})`);
  for (const { kind, text } of problems) console.log(`        ${kind}: ${text}`);
  for (const line of warnings) console.log(`        log: ${line}`);
}

/** Prints the summary; hack/test parses the last line. Returns whether all cases passed. */
export function report(results: readonly Result[]): boolean {
  const failed = results.filter(({ problems }) => problems.length > 0);
  const count = (kind: string) =>
    results.flatMap(({ problems }) => problems).filter((problem) => problem.kind === kind).length;
  for (const { fault } of failed) console.log(`FAILED  ${fault.name}`);
  console.log(
    `${results.length} cases: ${count("leak")} leaks, ${count("code")} wrong codes, ${count("status")} wrong exits, ` +
      `${count("notice")} unnoticed, ${count("reuse")} ids not reusable, ${count("reach")} not reached, ${count("error")} other`,
  );
  printTimes("notice of a lost VM", results, ({ noticedMs }) => noticedMs);
  printTimes("SIGKILL while a component hangs", results, ({ killMs }) => killMs);
  console.log(`${results.length - failed.length} passed, ${failed.length} failed`);
  return failed.length === 0 && results.length > 0;
}

function printTimes(
  what: string,
  results: readonly Result[],
  time: (result: Result) => number | undefined,
): void {
  const measured = results
    .flatMap((result) => {
      const ms = time(result);
      return ms === undefined ? [] : [{ ms, result }];
    })
    .sort((one, other) => one.ms - other.ms);
  const [median, slowest] = [measured[Math.floor(measured.length / 2)], measured.at(-1)];
  if (!median || !slowest) return;
  console.log(
    `${what}: median ${median.ms} ms, slowest ${slowest.ms} ms (${slowest.result.fault.name}), ${measured.length} cases`,
  );
}
