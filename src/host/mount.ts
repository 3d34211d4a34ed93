import { realpath } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { HullError, ignoring, internal } from "../core/errors.ts";
import { readMountInfo } from "./mountinfo.ts";
import { run, ToolError } from "./run.ts";

/** A mount as containerd describes it (api/types/mount.proto). */
export interface MountSpec {
  readonly type: string;
  readonly source: string;
  /** A path below the target of the whole list; empty for the target itself. */
  readonly target: string;
  readonly options: readonly string[];
}

/**
 * Mounts a file system by mount(8), which has helpers for some types and sets up loop devices. See
 * `withFileSystem`.
 */
export async function mount(spec: MountSpec, target: string, deadline: Deadline): Promise<void> {
  const argv: [string, ...string[]] = ["mount"];
  if (spec.type !== "") argv.push("-t", spec.type);
  if (spec.options.length > 0) argv.push("-o", spec.options.join(","));
  argv.push("--", spec.source === "" ? "none" : spec.source, target);
  try {
    await run(argv, deadline);
  } catch (thrown) {
    const inner = HullError.from(thrown);
    const cause = thrown instanceof ToolError ? inner.message.replace(/^mount \S+: /, "") : inner.message;
    const code = thrown instanceof ToolError ? "FailedPrecondition" : inner.code;
    throw new HullError(code, `mount ${spec.source} (${spec.type}) on ${target}: ${cause}`, {
      cause: thrown,
    });
  }
}

/** Unmounts everything at or below `path`, even if it is in use (lazily). Idempotent. */
export async function unmountTree(path: string, deadline: Deadline): Promise<void> {
  // Mounts may be stacked; each round unmounts the top of every stack, with all mounts below it.
  for (
    let left = await mountsBelow(path), rounds = 0;
    left.length > 0;
    left = await mountsBelow(path), rounds++
  ) {
    if (rounds === 100) throw internal(`unmount ${path}: ${left[0]} keeps being mounted again`);
    // Never a path inside a mount: a guest or an image may have redirected it.
    const tops = [...new Set(left)].filter((one) => !left.some((other) => one.startsWith(`${other}/`)));
    try {
      await run(["umount", "--lazy", "--no-canonicalize", "--", ...tops], deadline);
    } catch (thrown) {
      // Another process may have unmounted some meanwhile: it only failed if nothing was unmounted.
      const still = await mountsBelow(path);
      if (still.length >= left.length) throw HullError.wrap(`unmount ${path}`, thrown);
    }
  }
}

/** Returns the mount points at and below `path`, in mount order. */
export async function mountsBelow(path: string): Promise<string[]> {
  const real = (await realpath(path).catch(ignoring("ENOENT"))) ?? path;
  const infos = await readMountInfo();
  return infos
    .map((info) => info.target)
    .filter((target) => target === real || target.startsWith(`${real}/`));
}
