/** hull's version, the same as package.json's (a test compares them). */
export const VERSION = "0.1.0";

/** The runtime type users name: containerd derives the binary's name from it. */
export const RUNTIME_NAME = "io.containerd.hull.v2";
