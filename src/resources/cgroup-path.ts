import { posix } from "node:path";
import { invalidArgument } from "../core/errors.ts";
import { shortened } from "../core/shortened.ts";

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
  if (slice === "-.slice") return "/";
  if (slice.length > LONGEST_NAME)
    throw invalidArgument(`\`linux.cgroupsPath\`: a slice's name has ${slice.length} characters`);
  const names = slice.replace(/\.slice$/, "").split("-");
  if (!slice.endsWith(".slice") || slice.includes("/") || names.includes(""))
    throw invalidArgument(
      `\`linux.cgroupsPath\`: "${shortened(slice, LONGEST_NAME)}" is not the name of a systemd slice`,
    );
  return posix.join("/", ...names.map((_, depth) => `${names.slice(0, depth + 1).join("-")}.slice`));
}
