import type { Snapshot } from "../core/snapshot.ts";
import type { Logger } from "./log/log.ts";
import { stateOf } from "./state-dump.ts";

/** Bytes of the state in the line: it shares the log's 16 KiB with the error and its stack. */
const STATE_LIMIT = 6 * 1024;

/**
 * Has an exception or a rejection that nothing handles logged in one line, which names the pod and says what everything
 * was doing. Node then prints the stack and ends the process, as ever; containerd sees that and releases the pod.
 */
export function tellCrash(log: Logger, describe: () => Snapshot): void {
  process.on("uncaughtExceptionMonitor", (error, origin) =>
    log.fatal(
      { err: error, state: stateOf(describe, STATE_LIMIT) },
      `shim: ${origin}: a bug in hull ends this shim and its pod`,
    ),
  );
}
