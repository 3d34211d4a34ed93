import { HullError } from "../core/errors.ts";

/** The packages (Debian's names, which most distributions share) of the tools that hull runs on the host. */
const PACKAGES: Readonly<Record<string, string>> = {
  cp: "coreutils",
  flock: "util-linux",
  ip: "iproute2",
  losetup: "mount",
  mkfifo: "coreutils",
  mknod: "coreutils",
  modprobe: "kmod",
  mount: "mount",
  nsenter: "util-linux",
  prlimit: "util-linux",
  setpriv: "util-linux",
  sh: "dash",
  systemctl: "systemd",
  "systemd-run": "systemd",
  tc: "iproute2",
  umount: "mount",
  unshare: "util-linux",
};

/** Returns the remedy for a missing tool, for an error message. */
export function installAdvice(tool: string): string {
  const name = PACKAGES[tool];
  return name === undefined ? "install it" : `install the package ${name}`;
}

/** A missing program on the host. Never NotFound: containerd would take that for a successful Delete. */
export class MissingToolError extends HullError {
  constructor(
    readonly tool: string,
    path: string,
    cause?: unknown,
  ) {
    const where = tool.includes("/")
      ? "does not exist"
      : `is not in ${[...new Set(path.split(":"))].join(":")}`;
    super("FailedPrecondition", `${tool}: the program ${where}; ${installAdvice(tool)}`, { cause });
  }
}

/**
 * Returns the tool that a wrapper reported on stderr as missing: setpriv, prlimit, nsenter and unshare exec
 * another program, sh any.
 */
export function missingIn(stderr: string): string | undefined {
  const [, wrapped, ofShell] =
    /^\w+: failed to execute (\S+): No such file or directory$|^sh: (?:(?:line )?\d+: )?(\S+): (?:command )?not found$/m.exec(
      stderr,
    ) ?? [];
  return wrapped ?? ofShell;
}
