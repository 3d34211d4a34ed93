import type { GuestAgent, GuestExit, GuestStats } from "../agent/guest-agent.ts";
import { Deadline } from "../core/deadline.ts";
import { KILLED_STATUS } from "../core/exit-status.ts";

/** containerd drops a Stats call after 2 s. */
const STATS_LIMIT_MS = 1_500;
/** How long the exit of a killed container waits for its last numbers. */
const LAST_STATS_LIMIT_MS = 500;

/** The numbers of a container's cgroup; the last that are known, once it has ended and its guest is gone. */
export class ContainerStats {
  #last: GuestStats = { cgroupFiles: {}, netDev: "" };

  constructor(
    readonly containerId: string,
    /** undefined for a pause container, which has no numbers. */
    readonly agent: Pick<GuestAgent, "stats"> | undefined,
  ) {}

  /** Rejects where the guest does not answer for a container that is alive. */
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

  /** CRI asks a killed container's statistics for the reason, when the VM may have ended with the container. */
  async keepLast(ended: GuestExit | undefined): Promise<void> {
    if (!ended || (ended.status !== KILLED_STATUS && !ended.oomKilled)) return;
    await Deadline.within(LAST_STATS_LIMIT_MS, "the last statistics", (limit) =>
      this.read(() => true, limit),
    ).catch(() => {
      // Without numbers there is still what the exit says.
      if (!ended.oomKilled) return;
      const { cgroupFiles, netDev } = this.#last;
      this.#last = { cgroupFiles: { ...cgroupFiles, "memory.events": "oom 1\noom_kill 1\n" }, netDev };
    });
  }
}
