/** The pid namespace that containers of a pod share, as specs for the guest name it; the agent makes it. */
export const POD_PID_NAMESPACE = "/run/hull/pid-namespace";
/** Where the agent mounts root file systems that lie on disks of their own: a folder for each container, by its id. */
export const GUEST_ROOTS = "/run/hull/roots";
