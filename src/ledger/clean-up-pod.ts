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

/** A pod whose daemon is gone and whose directory is left. */
interface DeadPod {
  readonly directory: string;
  readonly namespace: string;
  readonly id: string;
}

/**
 * Releases what a dead pod's ledger lists, then its directory. If the ledger is damaged, warns and releases
 * what carries the pod's name, too. Idempotent. Throws with all failures; ledger and directory stay then.
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

/** Finds VM users, taps and cgroups by the pod's name; the release itself finds processes and mounts. */
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
