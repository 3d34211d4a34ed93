import { readdir, readlink, rm, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { errnoOf, HullError, ignoring, invalidArgument } from "../core/errors.ts";
import type { Ledger, Resource } from "../core/ledger.ts";
import { pollUntil } from "../core/poll-until.ts";
import type { ProcessUser } from "./process-user.ts";
import { run } from "./run.ts";

/** How many numbers are ours from the configured first one on: as many as Linux has process ids (PID_MAX_LIMIT). */
const NUMBERS = 4_194_304;
/** Of a link beside the namespaces' directories, none of which begins with a dot. */
const LINK = /^\.user-(\d+)$/;

interface PodPlace {
  /** The pod's directory. */
  readonly directory: string;
  readonly namespace: string;
  readonly id: string;
}

const nameOf = ({ namespace, id }: PodPlace) => `${namespace}/${id}`;
const stateRootOf = ({ directory }: PodPlace) => dirname(dirname(directory));

/** A user that a pod's VM runs as. Its number is no other pod's until it has been released. */
export interface VmUser extends ProcessUser {
  release(by: Deadline): Promise<void>;
}

/**
 * Takes a user for a pod's VM, with a number from `first` on. A number is taken by a link to the pod's name, which only one
 * pod can make, and which says whose it is without the pod's ledger. This process's id is tried first: it is free as a rule.
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
 * Ends whatever still runs as a pod's user, wherever it is, and gives the user's number back. A process that was taken
 * over can lose its parent, its session and its mark, but never its user. Idempotent.
 */
export async function releaseVmUser(
  path: string,
  pod: PodPlace,
  installation: string,
  deadline: Deadline,
): Promise<void> {
  const [, number] = LINK.exec(basename(path)) ?? [];
  if (number === undefined || dirname(path) !== stateRootOf(pod))
    throw invalidArgument(`it is not a user in ${stateRootOf(pod)}`);
  if ((await ownerOf(path)) !== nameOf(pod)) return; // given back, and perhaps another pod's by now
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

/** The users of a pod of which no record says what they are. */
export async function findVmUsers(pod: PodPlace): Promise<Resource[]> {
  const paths = (await readdir(stateRootOf(pod)))
    .filter((name) => LINK.test(name))
    .map((name) => join(stateRootOf(pod), name));
  const owners = await Promise.all(paths.map(ownerOf));
  return paths.filter((_, index) => owners[index] === nameOf(pod)).map((path) => ({ kind: "user", path }));
}

/** The name of the pod that a user is, if it is one's. */
async function ownerOf(path: string): Promise<string | undefined> {
  return await readlink(path).catch(ignoring("ENOENT"));
}
