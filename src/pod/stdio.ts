import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { GuestOutput, StdioTokens, TerminalSize } from "../agent/guest-agent.ts";
import type { Deadline } from "../core/deadline.ts";
import type { Snapshot } from "../core/snapshot.ts";

/** The streams as the client named them; State repeats them to the letter. */
export interface StdioPaths {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly terminal: boolean;
}

/** The host's side of a process's streams (FIFOs, files, loggers); the shim implements it. */
export interface ProcessIo {
  readonly terminal: boolean;
  /** Which streams somebody wants. */
  readonly wants: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
  /** Begins to copy. Takes the sockets over: it ends and destroys them. */
  attach(streams: ProcessStreams): void;
  /** The client will send no more: the process sees end of file after all that was sent before. */
  closeStdin(): void;
  /**
   * Resolves when all output has been handed to its targets, which see end of file then. `written` says how much
   * there is, since the guest leaves the streams open; without it they end with the VM. Rejects when the deadline is
   * over; the copying goes on then.
   */
  drained(deadline: Deadline, written?: GuestOutput): Promise<void>;
  /** How far the copying has come, for the state dump. */
  describe(): Snapshot;
  /** Ends all copying and closes every descriptor. Idempotent. */
  close(): Promise<void>;
}

export interface ProcessStreams {
  readonly stdin?: Socket;
  readonly stdout?: Socket;
  readonly stderr?: Socket;
}

/** A fresh token for each stream that is wanted. A terminal's output is all on stdout. */
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

/** Connects the streams behind `tokens`; when one fails the others are destroyed. */
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
