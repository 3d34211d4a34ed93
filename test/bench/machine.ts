import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";

/** The machine on which the numbers were measured. */
export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly memoryMib: number;
  readonly kernel: string;
  readonly system: string;
  readonly node: string;
}

export function machine(): Machine {
  const all = cpus();
  return {
    processor: all[0]?.model.trim() ?? "unknown",
    processors: all.length,
    memoryMib: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown",
    node: process.version,
  };
}

/** Returns the load average of the last minute. */
export function load(): number {
  return Math.round((loadavg()[0] ?? 0) * 100) / 100;
}

export function machineLine(of: Machine): string {
  return `${of.processors} x ${of.processor}, ${of.memoryMib} MiB, ${of.system}, Linux ${of.kernel}, Node ${of.node}`;
}
