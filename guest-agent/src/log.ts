import type { Sys } from "./sys.ts";

type Level = "debug" | "info" | "warn" | "error" | "fatal";

/** Writes one short line to the console: `hull-agent: <level>: <text>`. */
export type Log = (level: Level, text: string) => void;

const MAX_LINE = 4096;

/**
 * Returns a log that writes to descriptor 2, the VM's console, whose tail the host keeps. If the console is
 * full or closed, the line is lost: there is no other place to report it.
 */
export function consoleLog(sys: Pick<Sys, "write">): Log {
  const encoder = new TextEncoder();
  return (level, text) => {
    const line = encoder.encode(`hull-agent: ${level}: ${text.slice(0, MAX_LINE)}\n`);
    try {
      sys.write(2, line, 0, line.length);
    } catch {
      // The agent must keep running without a console.
    }
  };
}

/** Returns the message of what was thrown. */
export function describe(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
