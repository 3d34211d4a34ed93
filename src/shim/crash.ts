import type { Logger } from "./log/log.ts";

/**
 * Has an exception or a rejection that nothing handles told in the log, which names the pod. Node then prints the stack
 * and ends the process, as ever; containerd sees that and releases the pod.
 */
export function tellCrash(log: Logger): void {
  process.on("uncaughtExceptionMonitor", (error, origin) =>
    log.fatal({ err: error }, `shim: ${origin}: a bug in hull ends this shim and its pod`),
  );
}
