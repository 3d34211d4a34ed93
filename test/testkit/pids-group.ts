import { access, mkdir, rmdir, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** A cgroup that limits processes, by whichever version of cgroups has that controller here. */
export class PidsGroup {
  private constructor(
    /** Within the hierarchy. */
    readonly path: string,
    readonly directory: string,
  ) {}

  static async make(name: string): Promise<PidsGroup> {
    const v1 = "/sys/fs/cgroup/pids";
    const root = await access(v1).then(
      () => v1,
      async () => {
        await writeFile("/sys/fs/cgroup/cgroup.subtree_control", "+pids");
        return "/sys/fs/cgroup";
      },
    );
    await mkdir(`${root}/${name}`);
    return new PidsGroup(`/${name}`, `${root}/${name}`);
  }

  /** Counts processes and threads. */
  async limit(most: number): Promise<void> {
    await writeFile(`${this.directory}/pids.max`, String(most));
  }

  /** What was in it may be ending still. */
  async remove(withinMs = 10_000): Promise<void> {
    for (const end = performance.now() + withinMs; ; await sleep(20)) {
      try {
        await rmdir(this.directory);
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EBUSY" || performance.now() > end) throw error;
      }
    }
  }
}
