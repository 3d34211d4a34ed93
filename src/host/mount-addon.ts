import { getSystemErrorName } from "node:util";
import { failedPrecondition, HullError, resourceExhausted } from "../core/errors.ts";
import { loadAddon, systemError } from "./addon.ts";

/** The functions of native/mount-api.c. A negative result is an errno. */
export interface MountAddon {
  open(directory: number, path: string, flags: number, mode: number): Promise<number>;
  find(namespace: number, root: number, path: string): Promise<number>;
  /** Mode, device and inode. */
  stat(place: number): Promise<number | bigint[]>;
  /** The size in bytes. */
  statfs(place: number): Promise<number | bigint[]>;
  mounts(namespace: number, root: number): Promise<number>;
  clone(place: number, recursive: number): Promise<number>;
  take(namespace: number, root: number, place: number, recursive: number): Promise<number>;
  create(
    namespace: number,
    root: number,
    directory: string,
    type: string,
    source: string,
    at: string,
    flags: number,
    options: string,
  ): Promise<number>;
  change(mount: number, recursive: number, set: number, clear: number, propagation: number): Promise<number>;
  attach(mount: number, place: number): Promise<number>;
  detach(path: string, flags: number): Promise<number>;
  detachLoop(device: number): Promise<number>;
}

/** O_PATH of open(2), which Node's constants lack. */
export const O_PATH = 0o10000000;

/** Loads the addon at `path`, built from native/mount-api.c. Throws Unavailable if it cannot be loaded. */
export function loadMountAddon(path: string): MountAddon {
  return loadAddon<MountAddon>("mount", path);
}

/** Returns the addon's result unless it is an errno. Throws FailedPrecondition with `step` and the cause. */
export function checked(step: string, answer: number): number {
  if (answer >= 0) return answer;
  const code = getSystemErrorName(answer);
  if (code === "ENOSYS") throw failedPrecondition(`${step}: the kernel is too old; hull needs Linux 5.12`);
  if (code === "ELOOP" || code === "EXDEV")
    throw failedPrecondition(
      `${step}: it is a symlink, contains one or leads outside; mounts do not follow those`,
    );
  throw HullError.wrap(step, mountError(answer), "FailedPrecondition");
}

/** Returns the error that a negative result stands for. */
export function mountError(answer: number): Error {
  if (getSystemErrorName(answer) !== "ENOBUFS") return systemError(answer);
  return resourceExhausted(
    "too many calls are waiting for file servers that do not answer; fix the servers or stop the pod",
  );
}
