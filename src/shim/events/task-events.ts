import { STATUS } from "../../core/errors.ts";
import type { PodEvent } from "../../pod/pod-event.ts";
import { toTimestamp } from "../../proto/timestamp.ts";
import { healthSentence } from "../../sandbox/vm-health.ts";
import type { Health } from "../../sandbox/watchdog.ts";
import { type ShimEvent, shimEvent } from "./shim-event.ts";

/** Returns the event for a pod's health: code 14 (Unavailable) if a component does not answer, else 0 (OK). */
export function fromHealth(pod: string, health: Health): ShimEvent {
  const code = health.unresponsive.length === 0 ? 0 : STATUS.Unavailable;
  return shimEvent("/hull/health", { code, message: `pod ${pod}: ${healthSentence(health)}`, details: [] });
}

/** Converts an event of the pod model to containerd's. */
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
        // For the init process this is the container's id, unlike in TaskDelete, where it is empty.
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
