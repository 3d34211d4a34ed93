/** The PID namespace that the containers of a pod share, as guest specs name it. The agent creates it. */
export const POD_PID_NAMESPACE = "/run/hull/pid-namespace";
/** Where the agent mounts root file systems on disks of their own, in one directory per container id. */
export const GUEST_ROOTS = "/run/hull/roots";
