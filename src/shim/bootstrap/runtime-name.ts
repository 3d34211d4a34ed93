/** The runtime type users name: containerd derives the binary's name from it. */
export const RUNTIME_NAME = "io.containerd.hull.v2";
