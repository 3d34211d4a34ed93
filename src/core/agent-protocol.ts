/** The major version of the protocol between shim and agent; both must have the same. */
export const PROTOCOL_MAJOR = 2;
