import { uint64 } from "./cgroup-files.ts";

/** Counters of one network interface, with the names of containerd's metrics. */
interface InterfaceCounters {
  readonly name: string;
  readonly rxBytes: bigint;
  readonly rxPackets: bigint;
  readonly rxErrors: bigint;
  readonly rxDropped: bigint;
  readonly txBytes: bigint;
  readonly txPackets: bigint;
  readonly txErrors: bigint;
  readonly txDropped: bigint;
}

/** Interfaces that are read; a pod has a handful. */
const INTERFACES_LIMIT = 64;
const TEXT_LIMIT = 64 * 1024;
/** An interface's name: 15 bytes at most, neither slash nor space (netdevice(7)). */
const LINE = /^\s*([^\s/:]{1,15}):\s*(\d[\d\s]*)$/;

/** Parses `/proc/net/dev` (proc(5)): two header lines, then a line of sixteen counters for each interface. */
export function parseNetDev(text: string): InterfaceCounters[] {
  const found: InterfaceCounters[] = [];
  for (const line of text.slice(0, TEXT_LIMIT).split("\n")) {
    const [, name, numbers] = LINE.exec(line) ?? [];
    if (name === undefined || numbers === undefined) continue;
    const counters = numbers.trim().split(/\s+/).map(uint64);
    const at = (index: number) => counters[index] ?? 0n;
    found.push({
      name,
      rxBytes: at(0),
      rxPackets: at(1),
      rxErrors: at(2),
      rxDropped: at(3),
      txBytes: at(8),
      txPackets: at(9),
      txErrors: at(10),
      txDropped: at(11),
    });
    if (found.length === INTERFACES_LIMIT) break;
  }
  return found;
}
