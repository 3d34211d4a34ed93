import { stat } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { run } from "../host/run.ts";

/** Runs a program in a network namespace, given by its path, and returns its stdout. */
export async function runInNetns(
  netns: string,
  argv: readonly [string, ...string[]],
  deadline: Deadline,
): Promise<string> {
  return await run(["nsenter", `--net=${netns}`, "--", ...argv], deadline);
}

/** Whether the path is a namespace: only namespaces are on the kernel's nsfs. */
export async function isNamespace(path: string): Promise<boolean> {
  const [there, own] = await Promise.all([
    stat(path).catch(() => undefined), // it or its process is gone
    stat("/proc/self/ns/net"),
  ]);
  return there?.dev === own.dev;
}

/**
 * Runs `ip` and `tc` batches (ip(8), tc(8): `-batch`) in a namespace with one start of nsenter, because
 * starting programs is most of the cost of network setup. Stops at the first failure.
 */
export async function runBatches(
  netns: string,
  batches: { readonly ip: readonly string[]; readonly tc?: readonly string[] },
  deadline: Deadline,
): Promise<void> {
  const tools = (["ip", "tc"] as const).filter((tool) => (batches[tool] ?? []).length > 0);
  const script = tools.map((tool, index) => `printf %s "$${index + 1}" | ${tool} -batch -`).join(" && ");
  const texts = tools.map((tool) => (batches[tool] ?? []).map((line) => `${line}\n`).join(""));
  await runInNetns(netns, ["sh", "-c", script, "sh", ...texts], deadline);
}
