import type { EventBus } from "../events/event-bus.ts";
import type { Log } from "../log.ts";
import type { Reaper } from "../loop/reaper.ts";
import type { Crun } from "../oci/crun.ts";
import type { TokenTable } from "../stdio/tokens.ts";
import type { Sys } from "../sys.ts";
import type { PodPidNamespace } from "./pod-pid-namespace.ts";

/** What containers are made with. */
export interface Runtime {
  sys: Sys;
  log: Log;
  reaper: Reaper;
  crun: Crun;
  podPidNamespace: PodPidNamespace;
  tokens: TokenTable;
  events: EventBus;
  /** Parent of the bundle folders, e.g. /run/hull/containers. */
  bundles: string;
  /** The cgroup that holds the containers' cgroups, below the hierarchy's root: `/hull`. */
  cgroupParent: string;
  /** A fresh, short path for a console socket. */
  consolePath: () => string;
}
