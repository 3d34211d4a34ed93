import type { EventBus } from "../events/event-bus.ts";
import type { Log } from "../log.ts";
import type { Reaper } from "../loop/reaper.ts";
import type { Crun } from "../oci/crun.ts";
import type { TokenTable } from "../stdio/tokens.ts";
import type { Sys } from "../sys.ts";
import type { PodPidNamespace } from "./pod-pid-namespace.ts";

/** What the containers of the pod share. */
export interface Runtime {
  sys: Sys;
  log: Log;
  reaper: Reaper;
  crun: Crun;
  podPidNamespace: PodPidNamespace;
  tokens: TokenTable;
  events: EventBus;
  /** Parent of the bundle directories, e.g. /run/hull/containers. */
  bundles: string;
  /** The parent of the containers' cgroups, relative to the hierarchy's root: `/hull`. */
  cgroupParent: string;
  /** Returns an unused, short path for a console socket. */
  consolePath: () => string;
}
