/** The runtime's name for containerd, which derives the name of the binary from it. */
export const RUNTIME_NAME = "io.containerd.hull.v2";
