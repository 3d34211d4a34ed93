import { deferred } from "../../../src/core/deferred.ts";
import { type ErrorCode, HullError } from "../../../src/core/errors.ts";
import type { Call, Make } from "./hostile-agent.ts";

const never = new Promise<never>(() => undefined);
const MOST = 0xffff_ffff_ffff_ffffn;
/** Statistics that are not numbers, too large, or unknown. */
const RUBBISH = [
  "\x1b[2J\0\0\0",
  "usage_usec -1\nuser_usec 1e400\nsystem_usec 0x\n",
  `anon ${"9".repeat(5000)}\nfile NaN\n${"\n".repeat(1000)}`,
  "8:0 rbytes=99999999999999999999999 wbytes=-5 rios=\n=== ===\n",
];

/** Behaviours that change the agent's answers. */
export const CALLS: Readonly<Record<string, Make>> = {
  /** Never answers one call, or any call after the container's start. */
  silent: ({ argument }) => ({
    answer: (call) =>
      argument === call.method || (argument === "" && call.method !== "createContainer")
        ? never
        : call.honest(),
  }),
  /** Answers every call except `wait` with an error of this class after the container's start. */
  refuses: ({ argument }) => ({
    answer: (call) => {
      if (call.method === "waitProcess" || call.method === "createContainer") return call.honest();
      throw hostileError(argument as ErrorCode);
    },
  }),
  /** Answers one call with an error. */
  "refuses-call": ({ argument }) => ({
    answer: (call) => {
      if (call.method === argument) throw hostileError("Internal");
      return call.honest();
    },
  }),
  /** Reports the exit of a process as soon as it has been started. */
  "ends-at-once": ({ argument }) => {
    const begun = deferred<void>();
    const status = Number(argument);
    return {
      begin: () => begun.resolve(),
      answer: onWait(async () => {
        await begun.promise;
        return exit({ exitStatus: status });
      }),
    };
  },
  /** Reports this exit time for every process: nanoseconds since 1970. */
  "ended-at": ({ argument }) => ({
    answer: onWait(async (call) => ({
      ...((await call.honest()) as object),
      exitedAtUnixNano: BigInt(argument),
    })),
  }),
  /** Reports that the maximum of output is still pending. */
  "claims-pending-output": () => ({
    answer: onWait(async (call) => ({
      ...((await call.honest()) as object),
      ...{ stdoutBytes: MOST, stderrBytes: MOST },
    })),
  }),
  /** Reports success without doing anything. */
  "kills-nothing": () => ({ answer: (call) => (call.method === "signalProcess" ? {} : call.honest()) }),
  "deletes-nothing": () => ({ answer: (call) => (call.method === "deleteProcess" ? {} : call.honest()) }),
  "starts-nothing": () => ({
    answer: (call) => (call.method === "startProcess" && call.execId !== "" ? { pid: 1 } : call.honest()),
  }),
  /** Returns statistics of this many bytes. */
  "long-stats": ({ argument }) => ({
    answer: onStats({ "memory.stat": "x".repeat(Number(argument)) }),
  }),
  "rubbish-stats": () => ({
    answer: onStats(
      Object.fromEntries(
        ["cpu.stat", "memory.stat", "io.stat", "pids.current", "memory.current", "\x1b[2J", "__proto__"].map(
          (name, index) => [name, RUBBISH[index % RUBBISH.length] ?? ""],
        ),
      ),
    ),
  }),
};

/** An error message with terminal escapes, of excessive length. */
function hostileError(code: ErrorCode): HullError {
  return new HullError(code, `\x1b]0;owned\x07\x1b[2J\x9b31m\r\n\0\u202e${"no ".repeat(20_000)}`);
}

function exit(fields: { exitStatus: number }): object {
  return { ...fields, exitedAtUnixNano: 0n, oomKilled: false, stdoutBytes: 0n, stderrBytes: 0n };
}

function onWait(answer: (call: Call) => unknown) {
  return (call: Call) => (call.method === "waitProcess" ? answer(call) : call.honest());
}

function onStats(cgroupFiles: Record<string, string>) {
  return (call: Call) =>
    call.method === "statsContainer" ? { cgroupFiles, netDev: RUBBISH.join("\n") } : call.honest();
}
