/**
 * The implementations of virtiofsd: QEMU's in C (up to QEMU 7), the Rust one that does not announce submounts
 * by default, and the Rust one that does unless told otherwise.
 */
export type VirtiofsdFlavour = "c" | "rust-old" | "rust";

/** How long the guest may use cached attributes: never, for a second, or forever. */
export type VirtiofsdCache = "never" | "auto" | "always";

/**
 * With the C daemon's own `auto`, the guest drops a file's contents on every open: each start of a program
 * reads it again, which is nine tenths of the start's time. `always` with the timeout of `auto` makes the
 * guest check size and mtime after a second and drop the contents if they differ. The Rust daemon does not
 * have a timeout option.
 */
const C_CACHE: Readonly<Record<VirtiofsdCache, readonly string[]>> = {
  never: ["cache=none"],
  auto: ["cache=always", "timeout=1"],
  always: ["cache=always"],
};

/** Returns the implementation that prints this `--help` text; undefined if it is unknown. */
export function flavourOf(help: string): VirtiofsdFlavour | undefined {
  if (/^\s*-o source=/m.test(help)) return "c";
  if (/--shared-dir\b/.test(help)) return /--no-announce-submounts\b/.test(help) ? "rust" : "rust-old";
  return undefined;
}

/**
 * Returns the arguments for a daemon that listens on the inherited descriptor `fd`. Extended attributes are
 * on, because images use them. Submounts are not announced: Linux 6.1 mounts each one separately and unmounts
 * it when a container's last process exits, while its files are still being released, which is a kernel BUG
 * ("Busy inodes after unmount of virtiofs", one exit in twenty).
 */
export function virtiofsdArguments(
  flavour: VirtiofsdFlavour,
  options: {
    readonly shared: string;
    readonly fd: number;
    readonly cache: VirtiofsdCache;
    readonly extraArgs: readonly string[];
  },
): string[] {
  const { shared, fd, cache, extraArgs } = options;
  if (flavour === "c") {
    // Locks stay in the guest: only it uses these files, and remote locks block the daemon's threads.
    const settings = [
      ...[`source=${shared.replaceAll(",", "\\,")}`, ...C_CACHE[cache]],
      ...["sandbox=namespace", "xattr", "no_posix_lock", "no_flock", "log_level=warn"],
      "modcaps=+sys_admin", // for trusted.* attributes, which overlays in the guest use
    ];
    return ["-f", `--fd=${fd}`, ...settings.flatMap((setting) => ["-o", setting]), ...extraArgs];
  }
  return [
    ...[`--fd=${fd}`, `--shared-dir=${shared}`, `--cache=${cache}`],
    ...["--sandbox=namespace", "--xattr", "--log-level=warn"],
    // File handles would save an open descriptor per file that the guest caches, but a daemon that may open
    // by handle can reach every file on a volume's file systems (CAP_DAC_READ_SEARCH, open_by_handle_at(2)).
    ...["--inode-file-handles=never", "--modcaps=+sys_admin"],
    ...(flavour === "rust" ? ["--no-announce-submounts"] : []),
    ...extraArgs,
  ];
}
