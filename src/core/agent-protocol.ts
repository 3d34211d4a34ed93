/** The major version of the protocol that the shim and the guest agent speak; both must be of the same. */
export const PROTOCOL_MAJOR = 2;
