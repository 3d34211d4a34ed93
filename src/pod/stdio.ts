import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { GuestOutput, StdioTokens, TerminalSize } from "../agent/guest-agent.ts";
import type { Deadline } from "../core/deadline.ts";
import type { Snapshot } from "../core/snapshot.ts";

/** The streams as the client named them; State returns them unchanged. */
export interface StdioPaths {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly terminal: boolean;
}

/** The host's side of a process's streams (FIFOs, files, loggers); the shim implements it. */
export interface ProcessIo {
  readonly terminal: boolean;
  /** Which streams the client wants. */
  readonly wants: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
  /** Starts to copy. Owns the sockets from then on: ends and destroys them. */
  attach(streams: ProcessStreams): void;
  /** The client sends no more: the process sees end of file after everything sent before. */
  closeStdin(): void;
  /**
   * Resolves when all output has been written to its targets, which then see end of file. `written` is how much there
   * is, since the guest leaves the streams open; without it they end with the VM. Rejects when the deadline ends;
   * copying continues then.
   */
  drained(deadline: Deadline, written?: GuestOutput): Promise<void>;
  /** How much has been copied, for the state dump. */
  describe(): Snapshot;
  /** Stops copying and closes every descriptor. Idempotent. */
  close(): Promise<void>;
}

/** A process's streams: connections to the guest. */
export interface ProcessStreams {
  readonly stdin?: Socket;
  readonly stdout?: Socket;
  readonly stderr?: Socket;
}

/** Returns a new token for each wanted stream. A terminal's output is all on stdout. */
export function stdioTokens(io: ProcessIo, size: TerminalSize | undefined): StdioTokens {
  const token = () => randomBytes(16).toString("hex");
  return {
    terminal: io.terminal,
    ...(io.wants.stdin && { stdin: token() }),
    ...(io.wants.stdout && { stdout: token() }),
    ...(io.wants.stderr && !io.terminal && { stderr: token() }),
    ...(size && { size }),
  };
}

/** Connects the streams of `tokens`; if one fails, the others are destroyed. */
export async function openStreams(
  tokens: StdioTokens,
  open: (token: string) => Promise<Socket>,
): Promise<ProcessStreams> {
  const names = (["stdin", "stdout", "stderr"] as const).filter((name) => tokens[name] !== undefined);
  const results = await Promise.allSettled(names.map((name) => open(tokens[name] as string)));
  const failed = results.find((result) => result.status === "rejected");
  if (failed) {
    for (const result of results) if (result.status === "fulfilled") result.value.destroy();
    throw failed.reason;
  }
  return Object.fromEntries(
    results.map((result, index) => [names[index], result.status === "fulfilled" ? result.value : undefined]),
  );
}
