import { HullError, invalidArgument } from "../../../src/core/errors.ts";
import type { RootDisk as Wanted } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import type { Reaper } from "../loop/reaper.ts";
import { allowing, type Sys } from "../sys.ts";
import { awaitDisks } from "./disks.ts";
import { writeBack } from "./write-back.ts";

const FILE_SYSTEMS = new Set(["ext4"]);
const OPTION = /^[A-Za-z0-9_.=:-]{1,64}$/;
const MAX_OPTIONS = 32;

/** A container's root file system on a disk of its own. */
export class RootDisk {
  readonly #sys: Sys;
  #mounted = false;

  constructor(
    sys: Sys,
    /** Where it is mounted. */
    readonly path: string,
  ) {
    this.#sys = sys;
  }

  get mounted(): boolean {
    return this.#mounted;
  }

  /**
   * Waits for the disk and mounts it. Rejects with InvalidArgument, or with DeadlineExceeded after `timeoutMs`.
   */
  async mount({ serial, fsType, readOnly, options }: Wanted, timeoutMs: number): Promise<void> {
    const sys = this.#sys;
    if (!FILE_SYSTEMS.has(fsType))
      throw invalidArgument(`root disk: file system ${JSON.stringify(fsType.slice(0, 64))}: must be ext4`);
    if (options.length > MAX_OPTIONS || !options.every((option) => OPTION.test(option)))
      throw invalidArgument("root disk: options: must be options of a file system");
    const [disk] = await awaitDisks(sys, [serial], timeoutMs);
    if (!disk) throw invalidArgument("root disk: no serial number");
    try {
      sys.mkdirp(this.path, 0o700);
      sys.mount(`/dev/${disk.name}`, this.path, fsType, readOnly ? sys.MS_RDONLY : 0, options.join(","));
      this.#mounted = true;
    } catch (error) {
      throw HullError.wrap(`root disk ${serial}: mount ${disk.name} (${fsType})`, error, "Internal");
    }
  }

  /** Writes dirty data back, so that `unmount`, during which the agent is blocked, is fast. */
  async writeBack(reaper: Reaper): Promise<void> {
    if (this.#mounted) await writeBack(this.#sys, reaper, this.path);
  }

  /** Unmounts the disk, which no process may use any more. Idempotent. */
  unmount(): void {
    if (this.#mounted) this.#sys.umount(this.path, this.#sys.UMOUNT_NOFOLLOW);
    this.#mounted = false;
    // Mount namespaces of later containers have copies of the mount, which would keep the file system busy.
    // Removing the
    // mount point unmounts those, too (rmdir(2), mount_namespaces(7) on mount points elsewhere).
    allowing(["ENOENT"], () => this.#sys.rmdir(this.path));
  }
}
