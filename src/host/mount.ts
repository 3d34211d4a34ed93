import { realpath } from "node:fs/promises";
import { dirname } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { HullError, internal, invalidArgument } from "../core/errors.ts";
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

/** mount(2) copies one page of options; its closing NUL takes a byte. */
const MAX_OPTIONS = 4095;

/** Mounts one file system, no bind (MountApi), by mount(8). */
export async function mount(spec: MountSpec, target: string, deadline: Deadline): Promise<void> {
  const { options, cwd } = fitOptions(spec.options, target);
  const argv: [string, ...string[]] = ["mount"];
  if (spec.type !== "") argv.push("-t", spec.type);
  if (options.length > 0) argv.push("-o", options.join(","));
  argv.push("--", spec.source === "" ? "none" : spec.source, target);
  try {
    // The newer mount calls that mount(8) uses from 2.39 on limit every option to 255 bytes: too short for overlays.
    const env = { LIBMOUNT_FORCE_MOUNT2: "always" };
    await run(argv, deadline, { env, ...(cwd === undefined ? {} : { cwd }) });
  } catch (thrown) {
    const inner = HullError.from(thrown);
    const cause = thrown instanceof ToolError ? inner.message.replace(/^mount \S+: /, "") : inner.message;
    const code = thrown instanceof ToolError ? "FailedPrecondition" : inner.code;
    throw new HullError(code, `mount ${spec.source} (${spec.type}) on ${target}: ${cause}`, {
      cause: thrown,
    });
  }
}

/** Takes everything off that is mounted at or below `path`, also when it is in use (lazily). Idempotent. */
export async function unmountTree(path: string, deadline: Deadline): Promise<void> {
  // Several may lie on top of each other; each round takes off the topmost of every stack.
  for (
    let left = await mountsBelow(path), rounds = 0;
    left.length > 0;
    left = await mountsBelow(path), rounds++
  ) {
    if (rounds === 100) throw internal(`unmount ${path}: ${left[0]} is mounted again and again`);
    const deepestFirst = [...new Set(left)].sort((a, b) => b.length - a.length);
    try {
      // Options that follow symbolic links are off: below a share the guest can write links.
      await run(["umount", "--lazy", "--no-canonicalize", "--", ...deepestFirst], deadline);
    } catch (thrown) {
      // Another one may have taken it off in between: only what is still there is a failure.
      const still = await mountsBelow(path);
      if (still.length >= left.length) throw HullError.wrap(`unmount ${path}`, thrown);
    }
  }
}

/** The mount points at and below `path`, in mount order. */
export async function mountsBelow(path: string): Promise<string[]> {
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return path;
    throw error;
  });
  const infos = await readMountInfo();
  return infos
    .map((info) => info.target)
    .filter((target) => target === real || target.startsWith(`${real}/`));
}

/**
 * Options that are longer than mount(2) takes: the lower directories of an overlay are written relative to the
 * deepest directory that holds them all, and mount(8) is run there.
 */
export function fitOptions(given: readonly string[], target: string): { options: string[]; cwd?: string } {
  const options = [...given];
  if (options.join(",").length <= MAX_OPTIONS) return { options };
  const index = options.findIndex((option) => option.startsWith("lowerdir="));
  const lower = (options[index] ?? "").slice("lowerdir=".length).split(":");
  const cwd = lower.map(dirname).reduce(commonDirectory);
  if (index >= 0 && cwd !== "/" && target.startsWith("/") && lower.every((path) => path.startsWith("/"))) {
    options[index] = `lowerdir=${lower.map((path) => path.slice(cwd.length + 1)).join(":")}`;
    if (options.join(",").length <= MAX_OPTIONS) return { options, cwd };
  }
  throw invalidArgument(
    `mount on ${target}: its options have ${given.join(",").length} bytes, the kernel takes ${MAX_OPTIONS}; the image has too many layers`,
  );
}

function commonDirectory(one: string, other: string): string {
  const parts = other.split("/");
  const same = one.split("/").findIndex((part, index) => part !== parts[index]);
  return same < 0 ? one : one.split("/").slice(0, same).join("/") || "/";
}
