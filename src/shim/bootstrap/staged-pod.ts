import { alreadyExists, errnoOf, failedPrecondition, HullError } from "../../core/errors.ts";
import { encodeIdentity, identityOf } from "./liveness.ts";
import type { PodPaths } from "./pod-paths.ts";
import { ifExists, S_IFDIR, S_IFMT, type Sys } from "./sys.ts";

/** An attempt is two system calls, some hundredths of a millisecond. */
const MKDIR_ATTEMPTS = 10_000;

/** A pod's directory under a temporary name: it gets its name only when its socket listens. */
interface StagedPod {
  /** The listening socket. */
  readonly listener: number;
  /** Renames the directory. Throws AlreadyExists if the pod has one. */
  publish(): void;
  /** Removes everything, published or not. */
  discard(): void;
}

/**
 * Creates a pod's directory with listening socket and bootstrap record, under a name that only this process uses.
 * `publish` renames it, so of two starts of one id exactly one succeeds, without a lock.
 */
export function stagePod(sys: Sys, paths: PodPaths, record: string): StagedPod {
  // No id begins with a dot. The name is short, since a socket's path is limited.
  const staging = `${paths.namespaceDirectory}/.${sys.getpid()}`;
  let directory = staging;
  let listener = -1;
  const at = (path: string) => directory + path.slice(paths.directory.length);
  const discard = (): void => {
    if (listener >= 0) sys.close(listener);
    listener = -1;
    for (const file of [paths.socket, paths.record, paths.unused, paths.pid])
      ifExists(() => sys.unlink(at(file)));
    ifExists(() => sys.rmdir(directory));
    removeEmpty(sys, paths.namespaceDirectory);
  };
  makeDirectory(sys, paths, staging);
  try {
    listener = sys.unixListen(at(paths.socket), 128, 0o600);
    sys.writeFile(at(paths.record), record);
    const own = identityOf(sys, sys.getpid());
    if (own) sys.writeFile(at(paths.unused), encodeIdentity(own));
  } catch (error) {
    discard();
    throw HullError.wrap(`create ${staging}`, error);
  }
  return {
    listener,
    publish: () => {
      try {
        sys.rename(staging, paths.directory);
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === "ENOTEMPTY" || errno === "EEXIST") {
          throw alreadyExists(`${paths.directory} exists: another start of ${paths.pod} has created it`);
        }
        throw error;
      }
      directory = paths.directory;
    },
    discard,
  };
}

/** Removes the temporary directories of starts that were killed. */
export function sweepStaging(sys: Sys, paths: PodPaths): void {
  for (const name of ifExists(() => sys.readdir(paths.namespaceDirectory)) ?? []) {
    const pid = /^\.(\d+)$/.exec(name)?.[1];
    if (pid === undefined || identityOf(sys, Number(pid)) !== undefined) continue;
    const directory = `${paths.namespaceDirectory}/${name}`;
    for (const file of ifExists(() => sys.readdir(directory)) ?? []) {
      ifExists(() => sys.unlink(`${directory}/${file}`));
    }
    ifExists(() => sys.rmdir(directory));
  }
}

/** Tries again if the teardown of the namespace's last pod removes the still empty parent directory. */
function makeDirectory(sys: Sys, paths: PodPaths, staging: string): void {
  ensureParent(sys, paths.stateRoot);
  for (let attempt = 1; ; attempt++) {
    try {
      ensureParent(sys, paths.namespaceDirectory);
      sys.mkdir(staging, 0o700);
      return;
    } catch (error) {
      if (errnoOf(error) !== "ENOENT" || attempt === MKDIR_ATTEMPTS) throw error;
    }
  }
}

/** Removes a directory if it is empty. */
function removeEmpty(sys: Sys, directory: string): void {
  try {
    ifExists(() => sys.rmdir(directory));
  } catch (error) {
    if (errnoOf(error) !== "ENOTEMPTY" && errnoOf(error) !== "EEXIST") throw error;
  }
}

/** Creates a parent directory. Throws FailedPrecondition if others than root could write to it and replace sockets. */
function ensureParent(sys: Sys, path: string): void {
  try {
    sys.mkdir(path, 0o711);
    return;
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw HullError.wrap(`create ${path}`, error);
  }
  const stat = sys.lstat(path);
  if ((stat.mode & S_IFMT) !== S_IFDIR || stat.uid !== 0 || (stat.mode & 0o022) !== 0) {
    throw failedPrecondition(`${path} is not a directory that only root can write to; remove it`);
  }
}
