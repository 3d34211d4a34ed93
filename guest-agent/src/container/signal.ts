import { HullError, notFound } from "../../../src/core/errors.ts";
import { SigtermEscalation } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { readText } from "../files.ts";
import { errnoName, SIGKILL, SIGTERM, type Sys } from "../sys.ts";
import type { Process } from "./process.ts";

/** A signal and what to do if it is a SIGTERM that the process does not act on. */
export interface SignalOptions {
  signal: number;
  escalation: SigtermEscalation;
  /** Milliseconds until SIGKILL, for ESCALATION_AFTER. */
  escalationMs: number;
}

/** Sends a signal to one process. Throws NotFound if it does not run. */
export function signalProcess(sys: Sys, process: Process, options: SignalOptions): void {
  const pid = process.pid;
  // The PID of a process that has not been reaped cannot belong to another process.
  if (pid === undefined || !process.alive) throw finished(process);
  const { signal, escalation, escalationMs } = options;
  if (signal !== SIGTERM || escalation === SigtermEscalation.ESCALATION_NEVER) {
    send(sys, process, pid, signal);
    return;
  }
  if (escalation === SigtermEscalation.ESCALATION_UNHANDLED) {
    send(sys, process, pid, dropsSigterm(sys, pid) ? SIGKILL : SIGTERM);
    return;
  }
  send(sys, process, pid, SIGTERM);
  if (escalation === SigtermEscalation.ESCALATION_IMMEDIATE) {
    send(sys, process, pid, SIGKILL);
    return;
  }
  const timer = sys.setTimer(escalationMs, () => {
    if (process.alive) send(sys, process, pid, SIGKILL);
  });
  void process.wait().finally(() => sys.clearTimer(timer));
}

/** Sends a signal to each of `pids`; skips those that have exited. */
export function signalPids(sys: Sys, pids: readonly number[], signal: number): void {
  for (const pid of pids) {
    try {
      sys.kill(pid, signal);
    } catch (error) {
      if (errnoName(error) !== "ESRCH") throw HullError.from(error, "Internal");
    }
  }
}

/**
 * Whether the kernel would drop a SIGTERM: the target is the init of its PID namespace (pid_namespaces(7))
 * and neither handles, blocks nor ignores it.
 */
function dropsSigterm(sys: Pick<Sys, "readFile">, pid: number): boolean {
  let status: string;
  try {
    status = readText(sys, `/proc/${pid}/status`, 64 << 10);
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return false; // it is exiting
  }
  const fields = new Map(
    status.split("\n").map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    }),
  );
  const numbers = (fields.get("NSpid") ?? "").split(/\s+/);
  if (numbers.length < 2 || numbers.at(-1) !== "1") return false;
  return ["SigCgt", "SigBlk", "SigIgn"].every((mask) => !hasSignal(fields.get(mask) ?? "0", SIGTERM));
}

/** `mask`: hexadecimal, bit n-1 = signal n (proc_pid_status(5)). */
function hasSignal(mask: string, signal: number): boolean {
  return ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

function send(sys: Sys, process: Process, pid: number, signal: number): void {
  try {
    sys.kill(pid, signal);
  } catch (error) {
    if (errnoName(error) === "ESRCH") throw finished(process);
    throw HullError.wrap(`${process.subject}: signal ${signal}`, error, "Internal");
  }
}

function finished(process: Process): HullError {
  return process.machine.is("created", "starting")
    ? notFound(`${process.subject}: process has not been started`)
    : notFound(`${process.subject}: process already finished`);
}
