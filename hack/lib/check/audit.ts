/** The program behind hack/audit. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../run.ts";

/** The exit status of a check that cannot run here. */
const SKIPPED = 77;
const TIMEOUT_MS = 5_000;

/** The part of npm's report that is used (version 2 of its format). */
interface AuditReport {
  readonly vulnerabilities: Readonly<Record<string, Vulnerability>>;
}

interface Vulnerability {
  readonly severity: string;
  /** The paths at which the package is installed. */
  readonly nodes: readonly string[];
  /** Its advisories, or the names of vulnerable packages that it depends on. */
  readonly via: readonly (string | { readonly title: string; readonly url: string })[];
}

/** The part of package-lock.json that is used. */
interface Lockfile {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean }>>;
}

/** The result of the audit. */
interface Verdict {
  readonly failures: string[];
  readonly warnings: string[];
}

/** Sorts the vulnerabilities in npm's report: critical ones at run time are failures, others are warnings. */
export function judge({ vulnerabilities }: AuditReport, { packages }: Lockfile): Verdict {
  const verdict: Verdict = { failures: [], warnings: [] };
  for (const [name, { severity, nodes, via }] of Object.entries(vulnerabilities)) {
    const isProduction = nodes.some((node) => packages[node]?.dev !== true);
    const reasons = via.map((reason) =>
      typeof reason === "string" ? `by ${reason}` : `${reason.title}, ${reason.url}`,
    );
    const text = `${severity} in ${name} (${isProduction ? "run time" : "build only"}): ${reasons.join("; ")}`;
    verdict[isProduction && severity === "critical" ? "failures" : "warnings"].push(text);
  }
  return verdict;
}

/** Returns npm's report, or why there is none. */
function queryRegistry(): AuditReport | string {
  const options = ["--json", "--fetch-retries=0", `--fetch-timeout=${TIMEOUT_MS}`];
  const { stdout, error } = spawnSync("npm", ["audit", ...options], {
    cwd: ROOT,
    encoding: "utf8",
    timeout: 2 * TIMEOUT_MS,
    maxBuffer: 2 ** 26,
  });
  if (error) return error.message;
  const answer = JSON.parse(stdout);
  return answer.vulnerabilities ? answer : String(answer.message ?? answer.error?.summary);
}

function main(): void {
  const answer = queryRegistry();
  if (typeof answer === "string") {
    console.log(`the registry cannot be queried: ${answer}`);
    process.exitCode = SKIPPED;
    return;
  }
  const lockfile: Lockfile = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));
  const { failures, warnings } = judge(answer, lockfile);
  for (const warning of warnings) console.log(`warning: ${warning}`);
  for (const failure of failures) console.log(failure);
  if (failures.length > 0) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main();
