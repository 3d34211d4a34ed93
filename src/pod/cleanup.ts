import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { HullError, invalidArgument } from "../core/errors.ts";
import type { Resource } from "../core/ledger.ts";
import { killAll } from "../host/kill.ts";
import { releaseLoop } from "../host/loop-device.ts";
import { unmountTree } from "../host/mount.ts";
import { findByMark, type ProcessIdentity } from "../host/proc.ts";
import { releaseNetwork } from "../network/release.ts";
import { releaseCgroup } from "../resources/pod-cgroup.ts";
import { removePodDirectory } from "./pod-directory.ts";
import { type PodRecord, STATE_FILE } from "./state-file.ts";

/**
 * Releases whatever the ledger of a pod names although its daemon is gone (SIGKILL, a crash), then the pod's folder.
 * Running it again is harmless. Throws when something could not be released; the ledger stays then.
 */
export async function cleanUpPod(directory: string, pod: string, deadline: Deadline): Promise<void> {
  const record = await readRecord(directory);
  const of = <K extends Resource["kind"]>(kind: K) =>
    record.resources.filter((resource): resource is Extract<Resource, { kind: K }> => resource.kind === kind);
  await killAll([...of("process").flatMap(identity), ...(await findByMark(pod))], deadline);
  await releaseNetwork([...of("tap"), ...of("qdisc")], deadline);
  for (const record of of("cgroup")) await releaseCgroup(record, deadline);
  for (const { file } of of("loop")) await releaseLoop(file, deadline);
  for (const { path } of of("mount").reverse()) await unmountTree(path, deadline);
  for (const { path } of of("directory").reverse()) {
    if (!path.startsWith(`${directory}/`))
      throw invalidArgument(`${directory}/${STATE_FILE}: directory ${path} is not the pod's`);
  }
  await removePodDirectory(directory, deadline);
}

/** The record, or an empty one when the daemon did not come as far as writing it. */
async function readRecord(directory: string): Promise<Pick<PodRecord, "resources">> {
  const path = join(directory, STATE_FILE);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (HullError.from(error).code === "NotFound") return { resources: [] };
    throw error;
  }
  // Written by us, renamed into place, in a folder that only root can write to: what is there is whole.
  return JSON.parse(text) as PodRecord;
}

function identity(resource: Extract<Resource, { kind: "process" }>): ProcessIdentity[] {
  const { pid, startTime } = resource;
  return pid !== undefined && startTime !== undefined ? [{ pid, startTime }] : [];
}
