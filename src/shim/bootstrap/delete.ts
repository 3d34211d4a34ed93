import { KILLED_STATUS } from "../../core/exit-status.ts";
import { awaitExit } from "./child.ts";
import type { DaemonBinary } from "./daemon-binary.ts";
import type { Flags } from "./flags.ts";
import { checkIdentifier } from "./identifier.ts";
import { livingDaemon, socketAnswers } from "./liveness.ts";
import { podOf } from "./membership.ts";
import { PodPaths } from "./pod-paths.ts";
import { MessageWriter } from "./protobuf.ts";
import { sweepStaging } from "./staged-pod.ts";
import { exists, ifExists, SIGKILL, type Sys, writeAll } from "./sys.ts";
import { unmountRootfs } from "./unmount-rootfs.ts";

/** containerd kills `delete` after 5 s. */
const CLEANUP_TIMEOUT_MS = 4_000;
/** How long a daemon that does not listen any more may take to finish its own teardown. */
const TEARDOWN_TIMEOUT_MS = 900;

/**
 * Runs `delete`: releases what a dead daemon left of this id, and returns the encoded DeleteResponse. containerd runs
 * it after every Delete of a task, so a pod that is still running is not touched. Idempotent.
 */
export function remove(binary: DaemonBinary, flags: Flags, stateRoot?: string): Uint8Array {
  const { sys } = binary;
  checkIdentifier("namespace", flags.namespace);
  checkIdentifier("id", flags.id);
  const bundle = flags.bundle || sys.getcwd();
  const paths = new PodPaths(flags.namespace, podOfBundle(sys, flags.id, bundle), stateRoot);
  const response = encode(Date.now());
  // A pod's container has nothing outside the pod, which is released when the pod itself is deleted.
  if (paths.pod === flags.id) {
    if (exists(sys, paths.directory)) {
      if (socketAnswers(sys, paths)) return response;
      release(binary, paths);
    }
    sweepStaging(sys, paths);
  }
  unmountRootfs(sys, bundle);
  return response;
}

/** Releases the pod of a daemon that does not listen any more. */
function release(binary: DaemonBinary, paths: PodPaths): void {
  const { sys } = binary;
  const daemon = livingDaemon(sys, paths);
  let timeout = CLEANUP_TIMEOUT_MS;
  if (daemon) {
    if (!awaitExit(sys, daemon.pid, TEARDOWN_TIMEOUT_MS)) sys.kill(daemon.pid, SIGKILL); // cannot be reached any more
    timeout -= TEARDOWN_TIMEOUT_MS;
  }
  if (!exists(sys, paths.directory)) return; // the daemon has removed it
  writeAll(sys, 2, binary.cleanUp(paths, timeout).stderr); // containerd logs the warnings
}

/** Like `podOf`, for what is left of the bundle: without a valid config.json the pod is read from `address`. */
function podOfBundle(sys: Sys, id: string, bundle: string): string {
  const read = (name: string) =>
    ifExists(() => new TextDecoder().decode(sys.readFile(`${bundle}/${name}`, 1 << 24)));
  try {
    const config = read("config.json");
    if (config !== undefined) return podOf(id, config);
  } catch {
    // `start` refused this config.json. The bundle must still be deletable.
  }
  const pod = /\/([^/]+)\/shim\.sock$/.exec(read("address")?.trim() ?? "")?.[1] ?? id;
  checkIdentifier("address: pod", pod);
  return pod;
}

/** containerd.task.v2.DeleteResponse: the real exit status died with the daemon, so it is that of a killed process. */
function encode(exitedAtMs: number): Uint8Array {
  const seconds = Math.floor(exitedAtMs / 1000);
  const timestamp = new MessageWriter()
    .varint(1, seconds)
    .varint(2, Math.round(exitedAtMs - seconds * 1000) * 1e6);
  return new MessageWriter().varint(2, KILLED_STATUS).bytes(3, timestamp.finish()).finish();
}
