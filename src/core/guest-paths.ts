/** The pid namespace that containers of a pod share, as specs for the guest name it; the agent makes it. */
export const POD_PID_NAMESPACE = "/run/hull/pid-namespace";
