import { readFile } from "node:fs/promises";
import { arch, cpus, release, totalmem } from "node:os";
import { VERSION } from "../core/version.ts";
import { findingsOf } from "./check/check.ts";
import { type CliContext, EXIT } from "./context.ts";

/**
 * `hull env`: prints what a bug report needs, without secrets: no host name, pods, or environment variables except PATH.
 */
export async function env(
  context: CliContext,
  options: { readonly file?: string; readonly json?: boolean },
): Promise<number> {
  const facts = {
    hull: VERSION,
    installation: context.installation,
    node: process.versions.node,
    system: await systemName(),
    kernel: release(),
    architecture: arch(),
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? "unknown"}`,
    memory: `${Math.round(totalmem() / 2 ** 20)} MiB`,
  };
  const checks = await findingsOf(context, options.file);
  if (options.json) context.out(`${JSON.stringify({ ...facts, checks }, null, 2)}\n`);
  else {
    for (const [name, value] of Object.entries(facts)) context.out(`${name}: ${value}\n`);
    for (const { name, status, detail } of checks) {
      context.out(`${name}: ${status === "ok" ? "" : `${status}: `}${detail.replaceAll("\n", "\n  ")}\n`);
    }
  }
  return EXIT.ok;
}

/** PRETTY_NAME of os-release(5). */
async function systemName(): Promise<string> {
  const text = await readFile("/etc/os-release", "utf8").catch(() => "");
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1] ?? "unknown";
}
