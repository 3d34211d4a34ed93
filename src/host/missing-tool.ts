import { HullError } from "../core/errors.ts";

/** The packages (Debian's names, as most distributions have them) of the tools that hull runs on the host. */
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
  tc: "iproute2",
  umount: "mount",
  unshare: "util-linux",
};

/** What to do about a tool that is missing. */
export function installAdvice(tool: string): string {
  const name = PACKAGES[tool];
  return name === undefined ? "install it" : `install the package ${name}`;
}

/** A program of the host that is not there. Nothing of the caller's: never NotFound, which ends a deletion as done. */
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
 * The tool that a wrapper found missing: setpriv, prlimit, nsenter and unshare exec another program, sh any. `words` is
 * what was said on stderr.
 */
export function missingIn(words: string): string | undefined {
  const [, wrapped, ofShell] =
    /^\w+: failed to execute (\S+): No such file or directory$|^sh: (?:(?:line )?\d+: )?(\S+): (?:command )?not found$/m.exec(
      words,
    ) ?? [];
  return wrapped ?? ofShell;
}
