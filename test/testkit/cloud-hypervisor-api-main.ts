import { writeSync } from "node:fs";
import { FakeCloudHypervisor, type Fault } from "./cloud-hypervisor-api.ts";
import type { FakeEvent } from "./cloud-hypervisor-api-vm.ts";

/** A scripted action of the guest or the VMM. `boot` counts from the end of vm.boot or vm.restore. */
export interface ScriptedAction {
  readonly after: "start" | "boot";
  readonly ms?: number;
  readonly do: "poweroff" | "reboot" | "panic" | "crash" | "exit" | "hang" | "keep-devices";
  readonly stderr?: string;
  readonly print?: string;
}

/** How a fake executable behaves; `fake-cloud-hypervisor.ts` embeds it in the script that it writes. */
export interface Script {
  readonly faults?: readonly Fault[];
  readonly actions?: readonly ScriptedAction[];
  readonly checkHost?: boolean;
  readonly tapOpener?: string;
}

/** The options of the real command line that the fake accepts; all but -v have one value. */
const OPTIONS = new Set(["--api-socket", "--event-monitor", "--seccomp", "--log-file"]);

/** Runs FakeCloudHypervisor as the process `cloud-hypervisor`. */
export async function main(script: Script, argv: readonly string[]): Promise<void> {
  const options = parse(argv);
  const monitor = endpoint(options.get("--event-monitor"));
  const started = process.hrtime.bigint();
  const emit = (event: FakeEvent) => {
    const nanos = process.hrtime.bigint() - started;
    const timestamp = { secs: Number(nanos / 1_000_000_000n), nanos: Number(nanos % 1_000_000_000n) };
    const text = JSON.stringify({ timestamp, properties: null, ...event }, undefined, 2);
    if (monitor && "fd" in monitor) writeSync(monitor.fd, `${text}\n\n`);
    if (event.event === "booted" || event.event === "restored") trigger("boot");
  };
  emit({ source: "vmm", event: "starting" });
  // The console device exists from vm.create on; in mode Tty it is the VMM's standard output.
  const fake = new FakeCloudHypervisor({
    ...(script.faults && { faults: script.faults }),
    ...(script.checkHost !== undefined && { checkHost: script.checkHost }),
    ...(script.tapOpener !== undefined && { tapOpener: script.tapOpener }),
    onEvent: emit,
    onPrint: (text) => writeSync(1, text),
    onExit: (how) => (how === "died" ? die() : process.exit(0)),
  });

  function trigger(after: ScriptedAction["after"]): void {
    for (const action of script.actions ?? []) {
      if (action.after !== after) continue;
      if (action.do === "keep-devices") fake.vm.ejects = false;
      setTimeout(() => void perform(action), action.ms ?? 0);
    }
  }

  async function perform(action: ScriptedAction): Promise<void> {
    if (action.print) writeSync(1, action.print);
    if (action.stderr) writeSync(2, action.stderr);
    switch (action.do) {
      case "poweroff":
        await fake.vm.delete();
        emit({ source: "vmm", event: "shutdown" });
        return await fake.end("shutdown");
      case "reboot":
        return fake.vm.reboot();
      case "panic":
        return emit({ source: "guest", event: "panic", properties: { event: "panic" } });
      case "crash":
        return die();
      case "exit":
        return process.exit(1);
      default:
        return;
    }
  }

  if (script.actions?.some((action) => action.after === "start" && action.do === "hang")) {
    setInterval(() => undefined, 60_000); // never serves, never exits
    return;
  }
  if (script.actions?.some((action) => action.after === "start")) return trigger("start");
  const at = endpoint(options.get("--api-socket"));
  if (at) await fake.listen(at);
}

function die(): void {
  process.kill(process.pid, "SIGKILL");
}

function parse(argv: readonly string[]): Map<string, string> {
  const options = new Map<string, string>();
  for (let index = 0; index < argv.length; index++) {
    const name = argv[index] ?? "";
    if (/^-v+$/.test(name)) continue;
    const value = argv[++index];
    if (!OPTIONS.has(name) || value === undefined) {
      writeSync(2, `error: unexpected argument '${name}' found\n`);
      process.exit(2);
    }
    options.set(name, value);
  }
  return options;
}

function endpoint(option: string | undefined): { path: string } | { fd: number } | undefined {
  if (option?.startsWith("fd=")) return { fd: Number(option.slice(3)) };
  if (option?.startsWith("path=")) return { path: option.slice(5) };
  return undefined;
}
