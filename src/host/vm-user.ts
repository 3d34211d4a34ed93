import { readdir, readlink, rm, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { errnoOf, HullError, ignoring, invalidArgument } from "../core/errors.ts";
import type { Ledger, Resource } from "../core/ledger.ts";
import { pollUntil } from "../core/poll-until.ts";
import type { ProcessUser } from "./process-user.ts";
import { run } from "./run.ts";

/** IDs that belong to hull, from the configured first one: as many as Linux has PIDs (PID_MAX_LIMIT). */
const NUMBERS = 4_194_304;
/** The name of a user's symlink, next to the namespaces' directories, none of which begins with a dot. */
const SYMLINK = /^\.user-(\d+)$/;

interface PodPlace {
  /** The pod's directory, `<state root>/<namespace>/<id>`. */
  readonly directory: string;
  readonly namespace: string;
  readonly id: string;
}

const nameOf = ({ namespace, id }: PodPlace) => `${namespace}/${id}`;
const stateRootOf = ({ directory }: PodPlace) => dirname(dirname(directory));

/** The user that a pod's VM runs as. No other pod can have its ID until it is released. */
export interface VmUser extends ProcessUser {
  release(by: Deadline): Promise<void>;
}

/**
 * Reserves a user for a pod's VM, starting at `first` plus this process's PID, which is usually free. A
 * symlink to the pod's name reserves it: only one pod can create it, and it names the owner without a ledger.
 */
export async function takeVmUser(
  first: number,
  pod: PodPlace,
  ledger: Ledger,
  installation: string,
): Promise<VmUser> {
  for (let offset = process.pid; ; offset = (offset + 1) % NUMBERS) {
    const id = first + offset;
    const path = join(stateRootOf(pod), `.user-${id}`);
    const entry = await ledger.record({ kind: "user", path });
    try {
      await symlink(nameOf(pod), path);
    } catch (error) {
      await entry.forget();
      if (errnoOf(error) === "EEXIST") continue;
      throw HullError.wrap(`allocate a user for the VM: ${path}`, error);
    }
    const release = async (by: Deadline) => {
      await releaseVmUser(path, pod, installation, by);
      await entry.forget();
    };
    return { id, release };
  }
}

/**
 * Kills everything that runs as a pod's user and frees the user's ID. A compromised process can change its
 * parent, session and mark, but not its user. Idempotent.
 */
export async function releaseVmUser(
  path: string,
  pod: PodPlace,
  installation: string,
  deadline: Deadline,
): Promise<void> {
  const [, number] = SYMLINK.exec(basename(path)) ?? [];
  if (number === undefined || dirname(path) !== stateRootOf(pod))
    throw invalidArgument(`it is not a user in ${stateRootOf(pod)}`);
  if ((await ownerOf(path)) !== nameOf(pod)) return; // already released, and perhaps reserved by another pod
  let left = "";
  try {
    await pollUntil(async () => {
      left = await run([join(installation, "libexec/kill-user"), number], deadline);
      return left === "";
    }, deadline);
  } catch (error) {
    const which = left && ` (${left.trim().replaceAll("\n", ", ")})`;
    throw HullError.wrap(`kill the processes of user ${number}${which}`, error);
  }
  await rm(path, { force: true });
}

/** Finds a pod's users by their symlinks, for a pod without a readable ledger. */
export async function findVmUsers(pod: PodPlace): Promise<Resource[]> {
  const paths = (await readdir(stateRootOf(pod)))
    .filter((name) => SYMLINK.test(name))
    .map((name) => join(stateRootOf(pod), name));
  const owners = await Promise.all(paths.map(ownerOf));
  return paths.filter((_, index) => owners[index] === nameOf(pod)).map((path) => ({ kind: "user", path }));
}

/** Returns the name of the pod that has reserved a user; undefined if none has. */
async function ownerOf(path: string): Promise<string | undefined> {
  return await readlink(path).catch(ignoring("ENOENT"));
}
