import { HullError } from "../core/errors.ts";
import { printable } from "../core/printable.ts";
import type { Snapshot } from "../core/snapshot.ts";
import type { Log } from "./log/log.ts";

/** Bytes of a dump's JSON: a log line has at most 16 KiB, other fields included. */
const DUMP_LIMIT = 14 * 1024;
/** Limits on the entries of a list and the characters of a text, tried in order until the dump fits. */
const LIMITS = [
  { entries: 256, text: 256 },
  { entries: 64, text: 256 },
  { entries: 16, text: 128 },
  { entries: 4, text: 64 },
  { entries: 1, text: 32 },
] as const;

/** Logs the shim's state on each `signal` (SIGUSR1), whatever the log level is. */
export function logStateOn(signal: NodeJS.Signals, log: Log, describe: () => Snapshot): void {
  process.on(signal, () => {
    const level = log.isLevelEnabled("info") ? "info" : (log.level as "warn");
    log[level]({ state: stateOf(describe) }, `shim: state (${signal})`);
  });
}

/** Returns the snapshot, shortened to at most `limit` bytes of JSON. Never throws, since a crash is logged with it. */
export function stateOf(describe: () => Snapshot, limit = DUMP_LIMIT): unknown {
  try {
    const state = describe();
    for (const { entries, text } of LIMITS) {
      const dump = shortened(state, entries, text);
      if (Buffer.byteLength(JSON.stringify(dump)) <= limit) return dump;
    }
    return `larger than ${limit} bytes`;
  } catch (error) {
    return `not known: ${HullError.from(error).message}`;
  }
}

function shortened(value: unknown, entries: number, text: number): unknown {
  if (typeof value === "string") return printable(value, text);
  if (typeof value !== "object" || value === null) return value;
  const inner = (one: unknown) => shortened(one, entries, text);
  if (!Array.isArray(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, inner(one)]));
  }
  const more = value.length > entries ? [`${value.length - entries} more`] : [];
  return [...value.slice(0, entries).map(inner), ...more];
}
