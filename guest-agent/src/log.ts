import type { Sys } from "./sys.ts";

type Level = "debug" | "info" | "warn" | "error" | "fatal";

/** Writes one short line to the console: `hull-agent: <level>: <text>`. */
export type Log = (level: Level, text: string) => void;

const MAX_LINE = 4096;

/**
 * A log on descriptor 2 (the VM's console, whose tail the host keeps). A full or lost console loses the line:
 * there is nowhere else to report it to.
 */
export function consoleLog(sys: Pick<Sys, "write">): Log {
  const encoder = new TextEncoder();
  return (level, text) => {
    const line = encoder.encode(`hull-agent: ${level}: ${text.slice(0, MAX_LINE)}\n`);
    try {
      sys.write(2, line, 0, line.length);
    } catch {
      // The console is gone; the agent must go on without it.
    }
  };
}

/** What was thrown, in one line. */
export function describe(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
