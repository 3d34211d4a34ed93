import type { Deadline } from "../core/deadline.ts";
import type { Resource } from "../core/ledger.ts";
import { findByMark } from "../host/proc.ts";
import { findVmUsers } from "../host/vm-user.ts";
import { findTaps } from "../network/find-taps.ts";
import { findCgroups } from "../resources/find-cgroups.ts";
import { hostHierarchies } from "../resources/pod-cgroup.ts";
import { readState } from "./read-state.ts";
import { releaseRecorded } from "./release.ts";
import { removePodDirectory } from "./remove-pod-directory.ts";
import { StateFile } from "./state-file.ts";

/** A pod of whose daemon only the folder is left. */
export interface DeadPod {
  readonly directory: string;
  readonly namespace: string;
  readonly id: string;
}

/**
 * Releases whatever the ledger of a pod names although its daemon is gone (SIGKILL, a crash), then the pod's folder.
 * Where the ledger cannot be read as a whole, what carries the pod's name is looked for, too, and `warn` is told: its
 * processes by their mark and its user, its taps in all network namespaces, its cgroups, all mounts in its folder. Running
 * it again is harmless. Throws with everything that could not be released; ledger and folder stay then.
 */
export async function cleanUpPod(
  dead: DeadPod,
  installation: string,
  warn: (message: string) => void,
  deadline: Deadline,
): Promise<void> {
  const { directory, namespace, id } = dead;
  const pod = `${namespace}/${id}`;
  const { resources, problem } = await readState(directory);
  const found = problem === undefined ? [] : await findByName(dead, deadline);
  if (problem !== undefined)
    warn(`${problem}: pod ${pod} is released by its readable entries and by the pod's name`);
  const state = new StateFile(directory, namespace, id, warn, [...resources, ...found]);
  await releaseRecorded(state, installation, deadline);
  await removePodDirectory(directory, deadline);
}

/** What belongs to a pod by its name; processes are found by `releaseRecorded`, mounts by the removal of its folder. */
async function findByName(dead: DeadPod, deadline: Deadline): Promise<Resource[]> {
  const pod = `${dead.namespace}/${dead.id}`;
  const processes = await findByMark(pod);
  const [users, network, cgroups] = await Promise.all([
    findVmUsers(dead),
    findTaps(
      pod,
      processes.map(({ pid }) => pid),
      deadline,
    ),
    hostHierarchies().then((where) => findCgroups(dead, where)),
  ]);
  return [...users, ...network, ...cgroups];
}
