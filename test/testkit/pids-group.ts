import { access, mkdir, writeFile } from "node:fs/promises";
import { CGROUPS, cgroupPath, removeCgroup } from "./cgroup.ts";

/** A cgroup with the pids controller, in the cgroup version that has it on this host. */
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
    const path = cgroupPath(name);
    await mkdir(root + path);
    return new PidsGroup(path, root + path);
  }

  /** Limits the number of processes and threads. */
  async limit(most: number): Promise<void> {
    await writeFile(`${this.directory}/pids.max`, String(most));
  }

  remove(): Promise<void> {
    return removeCgroup(this.path);
  }
}
