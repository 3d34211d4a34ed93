import type { Snapshot } from "../core/snapshot.ts";
import type { Log } from "./log/log.ts";
import { stateOf } from "./state-dump.ts";

/** Bytes of the state: error and stack share the line's 16 KiB with it. */
const STATE_LIMIT = 6 * 1024;

/**
 * Logs an uncaught exception or unhandled rejection in one line with the pod and the shim's state. Node then prints
 * the stack and exits, and containerd has the pod released.
 */
export function logCrashes(log: Log, describe: () => Snapshot): void {
  process.on("uncaughtExceptionMonitor", (error, origin) =>
    log.fatal(
      { err: error, state: stateOf(describe, STATE_LIMIT) },
      `shim: ${origin}: a bug in hull ends this shim and its pod`,
    ),
  );
}
