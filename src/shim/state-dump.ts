import { HullError } from "../core/errors.ts";
import { printable } from "../core/printable.ts";
import type { Snapshot } from "../core/snapshot.ts";
import type { Logger } from "./log/log.ts";

/** Bytes of a dump's JSON: a line of the log has 16 KiB at most, and more than the dump in it. */
const DUMP_LIMIT = 14 * 1024;
/** Entries of each list and characters of each text, tried in this order until the dump fits. */
const FITS = [
  { entries: 256, text: 256 },
  { entries: 64, text: 256 },
  { entries: 16, text: 128 },
  { entries: 4, text: 64 },
  { entries: 1, text: 32 },
] as const;

/** Has a signal that asks for it (SIGUSR1) log what everything is doing, whatever the log's level is. */
export function logStateOn(signal: NodeJS.Signals, log: Logger, describe: () => Snapshot): void {
  process.on(signal, () => {
    const level = log.isLevelEnabled("info") ? "info" : (log.level as "warn");
    log[level]({ state: stateOf(describe) }, `shim: state (${signal})`);
  });
}

/** The snapshot in at most `limit` bytes of JSON. Never throws: a crash has to be logged, too. */
export function stateOf(describe: () => Snapshot, limit = DUMP_LIMIT): unknown {
  try {
    const state = describe();
    for (const fit of FITS) {
      const dump = shortened(state, fit.entries, fit.text);
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
