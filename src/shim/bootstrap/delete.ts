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

interface Exit {
  readonly pid: number;
  readonly exitStatus: number;
  readonly exitedAtMs: number;
}

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
  let exit: Exit = { pid: 0, exitStatus: KILLED_STATUS, exitedAtMs: Date.now() };
  // A pod's container has nothing outside the pod, which is released when the pod itself is deleted.
  if (paths.pod === flags.id) {
    if (exists(sys, paths.directory)) {
      if (socketAnswers(sys, paths)) return encode(exit);
      exit = release(binary, paths, exit);
    }
    sweepStaging(sys, paths);
  }
  unmountRootfs(sys, bundle);
  return encode(exit);
}

/** Releases the pod of a daemon that does not listen any more. */
function release(binary: DaemonBinary, paths: PodPaths, exit: Exit): Exit {
  const { sys } = binary;
  const daemon = livingDaemon(sys, paths);
  let timeout = CLEANUP_TIMEOUT_MS;
  if (daemon) {
    if (!awaitExit(sys, daemon.pid, TEARDOWN_TIMEOUT_MS)) sys.kill(daemon.pid, SIGKILL); // cannot be reached any more
    timeout -= TEARDOWN_TIMEOUT_MS;
  }
  if (!exists(sys, paths.directory)) return exit; // the daemon has removed it
  const { stdout, stderr } = binary.cleanUp(paths, timeout);
  writeAll(sys, 2, stderr); // containerd logs the warnings
  return { ...exit, ...parseExit(stdout) };
}

/** Parses what the cleanup printed about the exit of the pod's process, if anything. */
function parseExit(text: string): Partial<Exit> {
  if (text.trim() === "") return {};
  const raw = JSON.parse(text) as { pid?: unknown; exitStatus?: unknown; exitedAt?: unknown };
  const exitedAtMs = typeof raw.exitedAt === "string" ? Date.parse(raw.exitedAt) : Number.NaN;
  return {
    ...(Number.isInteger(raw.pid) && { pid: raw.pid as number }),
    ...(Number.isInteger(raw.exitStatus) && { exitStatus: raw.exitStatus as number }),
    ...(!Number.isNaN(exitedAtMs) && { exitedAtMs }),
  };
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

/** containerd.task.v2.DeleteResponse. */
function encode({ pid, exitStatus, exitedAtMs }: Exit): Uint8Array {
  const seconds = Math.floor(exitedAtMs / 1000);
  const timestamp = new MessageWriter()
    .varint(1, seconds)
    .varint(2, Math.round(exitedAtMs - seconds * 1000) * 1e6);
  return new MessageWriter().varint(1, pid).varint(2, exitStatus).bytes(3, timestamp.finish()).finish();
}
