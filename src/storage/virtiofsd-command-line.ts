/**
 * The two implementations of virtiofsd: QEMU's own in C (up to QEMU 7), and the Rust one that followed it, which at first
 * did not announce mount points unless it was told to.
 */
export type VirtiofsdFlavour = "c" | "rust-old" | "rust";

/** How long a guest may trust what it has cached: never, for a second, for good. */
export type VirtiofsdCache = "never" | "auto" | "always";

/**
 * The C daemon's own `auto` makes the guest drop a file's contents whenever it is opened: every start of a program
 * reads it anew, which is nine tenths of the start's time. As `always` with the time limit of `auto`, the guest looks
 * at size and time of change after a second, and drops the contents when these differ. The Rust daemon has no limit to set.
 */
const C_CACHE: Readonly<Record<VirtiofsdCache, readonly string[]>> = {
  never: ["cache=none"],
  auto: ["cache=always", "timeout=1"],
  always: ["cache=always"],
};

/** Which implementation a `--help` text is from. */
export function flavourOf(help: string): VirtiofsdFlavour | undefined {
  if (/^\s*-o source=/m.test(help)) return "c";
  if (/--shared-dir\b/.test(help)) return /--no-announce-submounts\b/.test(help) ? "rust" : "rust-old";
  return undefined;
}

/**
 * Arguments for a daemon that listens on the inherited descriptor `fd`. Extended attributes are on: images hold them.
 * Mount points below the share are not announced: Linux 6.1 mounts each one by itself and takes it down at the exit of
 * a container's last process, while the files it had open are still being released, which is a kernel BUG ("Busy inodes
 * after unmount of virtiofs", one exit in twenty).
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
    // Locks stay in the guest: only it uses these files, and remote ones block the daemon's threads.
    const settings = [
      ...[`source=${shared.replaceAll(",", "\\,")}`, ...C_CACHE[cache]],
      ...["sandbox=namespace", "xattr", "no_posix_lock", "no_flock", "log_level=warn"],
      "modcaps=+sys_admin", // trusted.* attributes: overlays in the guest keep their marks there
    ];
    return ["-f", `--fd=${fd}`, ...settings.flatMap((setting) => ["-o", setting]), ...extraArgs];
  }
  return [
    ...[`--fd=${fd}`, `--shared-dir=${shared}`, `--cache=${cache}`],
    ...["--sandbox=namespace", "--xattr", "--log-level=warn"],
    // Handles would save an open descriptor for every file the guest knows, but who may open by handle reaches every file
    // of the host's file systems that a volume is on (CAP_DAC_READ_SEARCH, open_by_handle_at(2)).
    ...["--inode-file-handles=never", "--modcaps=+sys_admin"],
    ...(flavour === "rust" ? ["--no-announce-submounts"] : []),
    ...extraArgs,
  ];
}
