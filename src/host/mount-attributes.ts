/** Whether mounts made below a mount appear in its copies (mount_namespaces(7)). */
export type Propagation = "unbindable" | "private" | "slave" | "shared";

/** A change by mount_setattr(2): MOUNT_ATTR_* to set and to clear. */
export interface MountAttributes {
  readonly set?: number;
  readonly clear?: number;
  readonly propagation?: Propagation;
}

/** MOUNT_ATTR_RDONLY. */
export const READ_ONLY = 0x1;
/** MOUNT_ATTR_NOSUID and MOUNT_ATTR_NODEV. */
export const NO_RIGHTS = 0x6;
/** MOUNT_ATTR__ATIME: an enumeration, which must be cleared as a whole. */
const ACCESS_TIME = 0x70;
const CHOICE: Readonly<Record<string, number>> = { relatime: 0, noatime: 0x10, strictatime: 0x20 };
const FLAG: Readonly<Record<string, number>> = {
  ro: READ_ONLY,
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  nodiratime: 0x80,
  nosymfollow: 0x20_0000,
};
const OPPOSITE: Readonly<Record<string, string>> = {
  rw: "ro",
  suid: "nosuid",
  dev: "nodev",
  exec: "noexec",
  diratime: "nodiratime",
  symfollow: "nosymfollow",
};

/**
 * The attributes that a bind mount's options ask for: those of its top mount, and those of all mounts in it.
 */
interface BindAttributes {
  readonly recursive: boolean;
  readonly top: MountAttributes;
  readonly all: MountAttributes;
}

/**
 * Reads a bind mount's options (mount(8), and the OCI runtime spec's recursive ones, `rro`); the later of two
 * contradicting ones wins. `rw` does not make a read-only source writable. The mount is a slave of its source
 * or private, never a peer: what is unmounted in it stays at the source.
 */
export function bindAttributes(options: readonly string[]): BindAttributes {
  const top = new Flags();
  const all = new Flags();
  for (const option of options) {
    top.take(option);
    if (option.startsWith("r")) all.take(option.slice(1));
  }
  const isPrivate = options.some((option) => /^r?(private|unbindable)$/.test(option));
  return {
    recursive: options.includes("rbind"),
    top: top.attributes(),
    all: { ...all.attributes(), propagation: isPrivate ? "private" : "slave" },
  };
}

class Flags {
  readonly #flags = new Set<string>();
  #choice: number | undefined;

  take(option: string): void {
    if (option in FLAG) this.#flags.add(option);
    else if (option in CHOICE) this.#choice = CHOICE[option];
    else this.#flags.delete(OPPOSITE[option] ?? "");
  }

  attributes(): MountAttributes {
    const set = [...this.#flags].reduce((sum, option) => sum | (FLAG[option] ?? 0), this.#choice ?? 0);
    return { set, clear: this.#choice === undefined ? 0 : ACCESS_TIME };
  }
}
