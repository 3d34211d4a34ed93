import type { PodEvent } from "../../pod/events.ts";
import { toTimestamp } from "../../proto/timestamp.ts";
import { type TaskEvent, taskEvent } from "./task-event.ts";

/** Turns what happened in the pod into containerd's event. */
export function fromPodEvent(event: PodEvent): TaskEvent {
  const { containerId } = event;
  switch (event.kind) {
    case "create":
      return taskEvent("/tasks/create", {
        containerId,
        bundle: event.bundle,
        rootfs: event.rootfs.map((mount) => ({ ...mount, options: [...mount.options] })),
        io: event.stdio,
        checkpoint: "",
        pid: event.pid,
      });
    case "start":
      return taskEvent("/tasks/start", { containerId, pid: event.pid });
    case "exec-added":
      return taskEvent("/tasks/exec-added", { containerId, execId: event.execId });
    case "exec-started":
      return taskEvent("/tasks/exec-started", { containerId, execId: event.execId, pid: event.pid });
    case "exit":
      return taskEvent("/tasks/exit", {
        containerId,
        // The init process goes by its container's id here, and by an empty one in TaskDelete.
        id: event.execId || containerId,
        pid: event.pid,
        exitStatus: event.exit.status,
        exitedAt: toTimestamp(event.exit.at),
      });
    case "delete":
      return taskEvent("/tasks/delete", {
        containerId,
        id: event.execId,
        pid: event.pid,
        exitStatus: event.exit.status,
        exitedAt: toTimestamp(event.exit.at),
      });
    case "oom":
      return taskEvent("/tasks/oom", { containerId });
    case "paused":
      return taskEvent("/tasks/paused", { containerId });
    case "resumed":
      return taskEvent("/tasks/resumed", { containerId });
  }
}
