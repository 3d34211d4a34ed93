import { join, resolve } from "node:path";
import { type LoadedConfig, loadWith } from "../../config/load.ts";
import { Deadline } from "../../core/deadline.ts";
import { type CliContext, EXIT } from "../context.ts";
import { devices } from "./devices.ts";
import { type Check, type CheckContext, type Finding, messageOf } from "./finding.ts";
import { guest } from "./guest.ts";
import { cgroups, host, memory, networkModel, overlay } from "./host.ts";
import { kvm } from "./kvm.ts";
import { rootless } from "./rootless.ts";
import { containerd, programs, tools } from "./tools.ts";

const CHECKS: readonly Check[] = [
  host,
  cgroups,
  memory,
  devices,
  overlay,
  networkModel,
  tools,
  programs,
  guest,
  rootless,
  kvm,
  containerd,
];
const LIMIT_MS = 120_000;

/** `hull check`: prints a line per finding; returns the exit status, 0 if pods can run here. */
export async function check(
  context: CliContext,
  options: { readonly file?: string; readonly json?: boolean },
): Promise<number> {
  const findings = await findingsOf(context, options.file);
  const failed = findings.filter(({ status }) => status === "fail").length;
  if (options.json) {
    context.out(`${JSON.stringify({ ok: failed === 0, checks: findings }, null, 2)}\n`);
  } else {
    for (const finding of findings) context.out(`${lineOf(finding)}\n`);
    context.out(
      failed === 0 ? "hull can run pods here\n" : `${failed} of ${findings.length} checks failed\n`,
    );
  }
  return failed === 0 ? EXIT.ok : EXIT.failed;
}

/** Returns the findings of all checks, or only the configuration's if it cannot be loaded. */
export async function findingsOf(context: CliContext, file: string | undefined): Promise<Finding[]> {
  let loaded: LoadedConfig;
  try {
    const options = file === undefined ? {} : { configPath: resolve(context.cwd, file) };
    loaded = await loadWith(options, context);
  } catch (thrown) {
    return [{ name: "configuration", status: "fail", detail: messageOf(thrown) }];
  }
  const detail = loaded.sources.join(", ") || "no configuration file: every key has its default";
  const { config } = loaded;
  return await Deadline.within(LIMIT_MS, "hull check", async (deadline) => {
    const { installation, env } = context;
    const state = join(context.root ?? "/", "run/hull");
    const about: CheckContext = { config, installation, path: env.PATH, state, deadline };
    // One at a time, because a check may load the machine and slow down another.
    const findings: Finding[] = [{ name: "configuration", status: "ok", detail }];
    for (const run of CHECKS) findings.push(...(await run(about)));
    return findings;
  });
}

function lineOf({ name, status, detail, advice }: Finding): string {
  const line = `${status.padEnd(8)}${name}: ${detail.replaceAll("\n", "\n        ")}`;
  return advice ? `${line}; ${advice}` : line;
}
