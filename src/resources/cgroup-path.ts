import { posix } from "node:path";
import { invalidArgument } from "../core/errors.ts";
import { shortened } from "../core/shortened.ts";

/** A scope of systemd (systemd.scope(5)). */
export interface ScopeUnit {
  readonly name: string;
  /** The slice that it is in. */
  readonly slice: string;
}

/** Unit names whose cgroup has the same name (systemd.unit(5); it escapes those that begin with . or _). */
const UNIT = /^[A-Za-z0-9:][A-Za-z0-9:_.\\@-]*$/;

/** The longest name of a unit (systemd.unit(5)), and of a file. */
const LONGEST_NAME = 255;

/**
 * Returns the cgroup that an OCI `linux.cgroupsPath` names, as an absolute path within each hierarchy;
 * undefined if none. It is in the form of the cgroupfs driver (`/kubepods/pod1/c1`) or of systemd's
 * (`kubepods-pod1.slice:cri-containerd:c1`: slice, prefix and scope; runc docs/systemd.md). Throws
 * InvalidArgument.
 */
export function cgroupDirectory(cgroupsPath: string | undefined): string | undefined {
  if (!cgroupsPath) return undefined;
  if (cgroupsPath.includes("\0")) throw invalidArgument("`linux.cgroupsPath` contains a NUL byte");
  const words = cgroupsPath.split(":");
  const systemd = words.length === 3 && !cgroupsPath.startsWith("/");
  // Resolved from the root, so that no .. leads out of the hierarchy.
  const path = posix.resolve("/", systemd ? scopePath(cgroupsPath, words) : cgroupsPath);
  return path === "/" ? undefined : path;
}

/** Returns the scope of systemd whose cgroup a path is; undefined if it is none. */
export function scopeOf(path: string): ScopeUnit | undefined {
  const name = posix.basename(path);
  const above = posix.dirname(path);
  const slice = above === "/" ? "-.slice" : posix.basename(above);
  const isScope = name.endsWith(".scope") && UNIT.test(name);
  const isSlice = above === "/" || (UNIT.test(slice) && pathOfSlice(slice) === above);
  return isScope && isSlice ? { name, slice } : undefined;
}

function scopePath(cgroupsPath: string, [slice = "", prefix = "", name = ""]: string[]): string {
  if (name === "" || `${prefix}${name}`.includes("/"))
    throw invalidArgument(
      `\`linux.cgroupsPath\` "${shortened(cgroupsPath, LONGEST_NAME)}" does not name a systemd unit`,
    );
  const unit = name.endsWith(".slice") ? name : `${prefix === "" ? "" : `${prefix}-`}${name}.scope`;
  return posix.join(slicePath(slice || "system.slice"), unit);
}

/** Returns the path of a slice: `a-b.slice` is in `a.slice` (systemd.slice(5)), `-.slice` is the root. */
function slicePath(slice: string): string {
  if (slice.length > LONGEST_NAME)
    throw invalidArgument(`\`linux.cgroupsPath\`: a slice's name has ${slice.length} characters`);
  const path = pathOfSlice(slice);
  if (path === undefined)
    throw invalidArgument(
      `\`linux.cgroupsPath\`: "${shortened(slice, LONGEST_NAME)}" is not the name of a systemd slice`,
    );
  return path;
}

/** Returns undefined if that is not a slice's name. */
function pathOfSlice(slice: string): string | undefined {
  if (slice === "-.slice") return "/";
  const names = slice.replace(/\.slice$/, "").split("-");
  if (!slice.endsWith(".slice") || slice.includes("/") || names.includes("")) return undefined;
  return posix.join("/", ...names.map((_, depth) => `${names.slice(0, depth + 1).join("-")}.slice`));
}
