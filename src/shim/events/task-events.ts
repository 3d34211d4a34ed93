import { STATUS } from "../../core/errors.ts";
import type { PodEvent } from "../../pod/pod-event.ts";
import { toTimestamp } from "../../proto/timestamp.ts";
import { healthSentence } from "../../sandbox/vm-health.ts";
import type { Health } from "../../sandbox/watchdog.ts";
import { type ShimEvent, shimEvent } from "./shim-event.ts";

/** Tells how the VM of a pod is: code 0 (OK) when all of it answers again, 14 (Unavailable) when a part does not. */
export function fromHealth(pod: string, health: Health): ShimEvent {
  const code = health.unresponsive.length === 0 ? 0 : STATUS.Unavailable;
  return shimEvent("/hull/health", { code, message: `pod ${pod}: ${healthSentence(health)}`, details: [] });
}

/** Turns what happened in the pod into containerd's event. */
export function fromPodEvent(event: PodEvent): ShimEvent {
  const { containerId } = event;
  switch (event.kind) {
    case "create":
      return shimEvent("/tasks/create", {
        containerId,
        bundle: event.bundle,
        rootfs: event.rootfs.map((mount) => ({ ...mount, options: [...mount.options] })),
        io: event.stdio,
        checkpoint: "",
        pid: event.pid,
      });
    case "start":
      return shimEvent("/tasks/start", { containerId, pid: event.pid });
    case "exec-added":
      return shimEvent("/tasks/exec-added", { containerId, execId: event.execId });
    case "exec-started":
      return shimEvent("/tasks/exec-started", { containerId, execId: event.execId, pid: event.pid });
    case "exit":
      return shimEvent("/tasks/exit", {
        containerId,
        // The init process goes by its container's id here, and by an empty one in TaskDelete.
        id: event.execId || containerId,
        pid: event.pid,
        exitStatus: event.exit.status,
        exitedAt: toTimestamp(event.exit.at),
      });
    case "delete":
      return shimEvent("/tasks/delete", {
        containerId,
        id: event.execId,
        pid: event.pid,
        exitStatus: event.exit.status,
        exitedAt: toTimestamp(event.exit.at),
      });
    case "oom":
      return shimEvent("/tasks/oom", { containerId });
    case "paused":
      return shimEvent("/tasks/paused", { containerId });
    case "resumed":
      return shimEvent("/tasks/resumed", { containerId });
  }
}
