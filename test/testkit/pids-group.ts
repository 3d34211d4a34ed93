import { access, mkdir, readdir, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const CGROUPS = "/sys/fs/cgroup";

/** A cgroup that limits processes, by whichever version of cgroups has that controller here. */
export class PidsGroup {
  private constructor(
    /** Within the hierarchy. */
    readonly path: string,
    readonly directory: string,
  ) {}

  static async make(name: string): Promise<PidsGroup> {
    const v1 = `${CGROUPS}/pids`;
    const root = await access(v1).then(
      () => v1,
      async () => {
        await writeFile(`${CGROUPS}/cgroup.subtree_control`, "+pids");
        return CGROUPS;
      },
    );
    await mkdir(`${root}/${name}`);
    return new PidsGroup(`/${name}`, `${root}/${name}`);
  }

  /** Counts processes and threads. */
  async limit(most: number): Promise<void> {
    await writeFile(`${this.directory}/pids.max`, String(most));
  }

  /** What was in it may be ending still. Goes from all hierarchies: who makes a group in it makes it in each. */
  async remove(withinMs = 60_000): Promise<void> {
    await removeGroup(this.directory, withinMs);
    for (const hierarchy of await readdir(CGROUPS))
      await removeGroup(join(CGROUPS, hierarchy, this.path), withinMs);
  }
}

async function removeGroup(directory: string, withinMs: number): Promise<void> {
  for (const end = performance.now() + withinMs; ; await sleep(20)) {
    try {
      await rmdir(directory);
      return;
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      if (["ENOENT", "ENOTDIR"].includes(code)) return; // not every hierarchy has it
      if (code !== "EBUSY" || performance.now() > end) throw error;
    }
  }
}
