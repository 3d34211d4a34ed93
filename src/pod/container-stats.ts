import type { GuestAgent, GuestExit, GuestStats } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { KILLED_STATUS } from "../core/exit-status.ts";

/** Below the 2 s after which containerd gives up a Stats call. */
const STATS_LIMIT_MS = 1_500;
/** How long the exit of a killed container is delayed to read its last statistics. */
const LAST_STATS_LIMIT_MS = 500;

/** The statistics of a container's cgroup; the last known ones after the container and its guest have ended. */
export class ContainerStats {
  #last: GuestStats = { cgroupFiles: {}, netDev: "" };

  constructor(
    readonly containerId: string,
    /** undefined for a pause container, which has no statistics. */
    readonly agent: Pick<GuestAgent, "stats"> | undefined,
  ) {}

  /** Reads the statistics. Rejects if the guest does not answer while the container is alive. */
  async read(alive: () => boolean, deadline: Deadline): Promise<GuestStats> {
    const { agent, containerId } = this;
    if (!agent) return this.#last;
    const limit = deadline.shorter(STATS_LIMIT_MS, `container ${containerId}: reading its statistics`);
    try {
      this.#last = await limit.race(agent.stats(containerId, limit));
    } catch (error) {
      if (alive()) throw error;
    } finally {
      limit.dispose();
    }
    return this.#last;
  }

  /** Keeps a killed container's statistics: CRI looks for the reason in them, and the VM may end with the container. */
  async keepLast(ended: GuestExit | undefined): Promise<void> {
    if (!ended || (ended.status !== KILLED_STATUS && !ended.oomKilled)) return;
    await Deadline.within(LAST_STATS_LIMIT_MS, "the last statistics", (limit) =>
      this.read(() => true, limit),
    ).catch(() => {
      // Without statistics, the exit still says whether it was an OOM kill.
      if (!ended.oomKilled) return;
      const { cgroupFiles, netDev } = this.#last;
      this.#last = { cgroupFiles: { ...cgroupFiles, "memory.events": "oom 1\noom_kill 1\n" }, netDev };
    });
  }
}
