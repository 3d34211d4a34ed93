import { alreadyExists, errnoOf, failedPrecondition, HullError } from "../../core/errors.ts";
import { encodeMark, markOf } from "./liveness.ts";
import type { PodPaths } from "./pod-paths.ts";
import { ifExists, type Sys } from "./sys.ts";

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
/** Two calls each, some hundredths of a millisecond. */
const MAKE_ATTEMPTS = 10_000;

/** A pod's directory that is complete but has not its name yet: it appears with its socket listening, or not at all. */
interface StagedPod {
  /** The listening socket. */
  readonly listener: number;
  /** Gives the directory its name. Throws AlreadyExists when there is a directory of that name. */
  publish(): void;
  /** Takes back everything, published or not. */
  discard(): void;
}

/**
 * Makes a pod's directory with its socket listening and its bootstrap record, under a name that only this process
 * uses; `publish` renames it, so that of two starts of one id exactly one wins and no lock is needed.
 */
export function stagePod(sys: Sys, paths: PodPaths, record: string): StagedPod {
  // Shorter than any id that makes the path too long; the dot keeps it apart from ids.
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
  makeStaging(sys, paths, staging);
  try {
    listener = sys.unixListen(at(paths.socket), 128, 0o600);
    sys.writeFile(at(paths.record), record);
    const own = markOf(sys, sys.getpid());
    if (own) sys.writeFile(at(paths.unused), encodeMark(own));
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
          throw alreadyExists(`${paths.directory} exists: another start of ${paths.pod} was faster`);
        }
        throw error;
      }
      directory = paths.directory;
    },
    discard,
  };
}

/** Removes what starts that were killed half-way left in the namespace's directory. */
export function sweepStaging(sys: Sys, paths: PodPaths): void {
  for (const name of ifExists(() => sys.readdir(paths.namespaceDirectory)) ?? []) {
    const pid = /^\.(\d+)$/.exec(name)?.[1];
    if (pid === undefined || markOf(sys, Number(pid)) !== undefined) continue;
    const directory = `${paths.namespaceDirectory}/${name}`;
    for (const file of ifExists(() => sys.readdir(directory)) ?? []) {
      ifExists(() => sys.unlink(`${directory}/${file}`));
    }
    ifExists(() => sys.rmdir(directory));
  }
}

/** The end of the namespace's last pod may take its directory away again and again before there is something in it. */
function makeStaging(sys: Sys, paths: PodPaths, staging: string): void {
  ensureParent(sys, paths.stateRoot);
  for (let attempt = 1; ; attempt++) {
    try {
      ensureParent(sys, paths.namespaceDirectory);
      sys.mkdir(staging, 0o700);
      return;
    } catch (error) {
      if (errnoOf(error) !== "ENOENT" || attempt === MAKE_ATTEMPTS) throw error;
    }
  }
}

/** Removes a directory unless something is in it. */
function removeEmpty(sys: Sys, directory: string): void {
  try {
    ifExists(() => sys.rmdir(directory));
  } catch (error) {
    if (errnoOf(error) !== "ENOTEMPTY" && errnoOf(error) !== "EEXIST") throw error;
  }
}

/** Makes a parent directory, or checks that the one there is ours alone to write: a planted one could swap sockets. */
function ensureParent(sys: Sys, path: string): void {
  try {
    sys.mkdir(path, 0o711);
    return;
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw HullError.wrap(`create ${path}`, error);
  }
  const stat = sys.lstat(path);
  if ((stat.mode & S_IFMT) !== S_IFDIR || stat.uid !== 0 || (stat.mode & 0o022) !== 0) {
    throw failedPrecondition(`${path} is not a directory that only root can write to: remove it`);
  }
}
