import { KILLED_STATUS } from "../../core/exit-status.ts";
import { awaitEnd } from "./child.ts";
import type { Flags } from "./flags.ts";
import { checkIdentifier } from "./identifier.ts";
import { livingDaemon, socketAnswers } from "./liveness.ts";
import { podOf } from "./membership.ts";
import { PodPaths } from "./pod-paths.ts";
import { MessageWriter } from "./protobuf.ts";
import { unmountRootfs } from "./rootfs.ts";
import { cleanUp, type Installation } from "./spawn-daemon.ts";
import { sweepStaging } from "./staged-pod.ts";
import { exists, ifExists, SIGKILL, type Sys, writeAll } from "./sys.ts";

/** containerd kills `delete` after 5 s. */
const CLEANUP_MS = 4_000;
/** How long a daemon whose socket is closed already may take for its own teardown. */
const TEARDOWN_MS = 900;

interface Ending {
  readonly pid: number;
  readonly exitStatus: number;
  readonly exitedAtMs: number;
}

/**
 * `delete`: releases what a dead daemon left of this id, and returns the encoded DeleteResponse. containerd calls it
 * at every task deletion, so it is fast when nothing is left, and it never touches a pod that lives. Idempotent.
 */
export function remove(sys: Sys, installation: Installation, flags: Flags, stateRoot?: string): Uint8Array {
  checkIdentifier("namespace", flags.namespace);
  checkIdentifier("id", flags.id);
  const bundle = flags.bundle || sys.getcwd();
  const paths = new PodPaths(flags.namespace, podOfBundle(sys, flags.id, bundle), stateRoot);
  let ending: Ending = { pid: 0, exitStatus: KILLED_STATUS, exitedAtMs: Date.now() };
  // A pod's member has nothing of its own outside the pod, and the pod is released by its own deletion.
  if (paths.pod === flags.id) {
    if (exists(sys, paths.directory)) {
      if (socketAnswers(sys, paths)) return encode(ending);
      ending = release(sys, installation, paths, ending);
    }
    sweepStaging(sys, paths);
  }
  unmountRootfs(sys, bundle);
  return encode(ending);
}

/** Releases the pod of a daemon that does not listen any more. */
function release(sys: Sys, installation: Installation, paths: PodPaths, ending: Ending): Ending {
  const daemon = livingDaemon(sys, paths);
  let limit = CLEANUP_MS;
  if (daemon) {
    if (!awaitEnd(sys, daemon.pid, TEARDOWN_MS)) sys.kill(daemon.pid, SIGKILL); // nobody can reach it any more
    limit -= TEARDOWN_MS;
  }
  if (!exists(sys, paths.directory)) return ending; // it cleaned up after itself
  const { stdout, stderr } = cleanUp(sys, installation, paths, limit);
  writeAll(sys, 2, stderr); // containerd logs what `delete` warns of
  return { ...ending, ...parseEnding(stdout) };
}

/** What the clean-up knows of the end of the pod's process; it prints nothing when it knows no better. */
function parseEnding(text: string): Partial<Ending> {
  if (text.trim() === "") return {};
  const raw = JSON.parse(text) as { pid?: unknown; exitStatus?: unknown; exitedAt?: unknown };
  const exitedAtMs = typeof raw.exitedAt === "string" ? Date.parse(raw.exitedAt) : Number.NaN;
  return {
    ...(Number.isInteger(raw.pid) && { pid: raw.pid as number }),
    ...(Number.isInteger(raw.exitStatus) && { exitStatus: raw.exitStatus as number }),
    ...(!Number.isNaN(exitedAtMs) && { exitedAtMs }),
  };
}

/** As `podOf`, but of whatever is left of the bundle: `address` tells the pod where config.json cannot. */
function podOfBundle(sys: Sys, id: string, bundle: string): string {
  const read = (name: string) =>
    ifExists(() => new TextDecoder().decode(sys.readFile(`${bundle}/${name}`, 1 << 24)));
  try {
    const config = read("config.json");
    if (config !== undefined) return podOf(id, config);
  } catch {
    // A bundle whose config.json is broken must be deletable: `start` refused it with the reason.
  }
  const pod = /\/([^/]+)\/shim\.sock$/.exec(read("address")?.trim() ?? "")?.[1] ?? id;
  checkIdentifier("address: pod", pod);
  return pod;
}

/** containerd.task.v2.DeleteResponse. */
function encode(ending: Ending): Uint8Array {
  const seconds = Math.floor(ending.exitedAtMs / 1000);
  const timestamp = new MessageWriter()
    .varint(1, seconds)
    .varint(2, Math.round(ending.exitedAtMs - seconds * 1000) * 1e6);
  return new MessageWriter()
    .varint(1, ending.pid)
    .varint(2, ending.exitStatus)
    .bytes(3, timestamp.finish())
    .finish();
}
