/** One line of /proc/PID/mountinfo (proc(5)). */
export interface MountInfo {
  readonly id: number;
  /** The path within the file system that is the root of this mount. */
  readonly root: string;
  readonly target: string;
  readonly options: readonly string[];
  /** Propagation and others: `shared:5`, `master:2`. */
  readonly fields: readonly string[];
  readonly type: string;
  readonly source: string;
  /** Options of the file system itself: for cgroup v1 the controllers of the hierarchy. */
  readonly superOptions: readonly string[];
}

/** The lines of a mountinfo file, in mount order. */
export function parseMountInfo(text: string): MountInfo[] {
  return text.split("\n").flatMap((line) => {
    const words = line.split(" ");
    const dash = words.indexOf("-", 6);
    if (dash < 0) return [];
    const [id, , , root, target, options] = words;
    return {
      id: Number(id),
      root: unescapePath(root ?? ""),
      target: unescapePath(target ?? ""),
      options: (options ?? "").split(","),
      fields: words.slice(6, dash),
      type: words[dash + 1] ?? "",
      source: unescapePath(words[dash + 2] ?? ""),
      superOptions: (words[dash + 3] ?? "").split(","),
    };
  });
}

/** The mount points alone, in mount order: the launcher reads a line per mount of the host for each Delete. */
export function mountPoints(text: string): string[] {
  return text.split("\n").map((line) => unescapePath(line.split(" ", 5)[4] ?? ""));
}

/** Space, tab, newline and backslash are written as three octal digits, byte by byte. */
function unescapePath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
