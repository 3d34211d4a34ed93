/** The vsock ports on which the agent listens in the guest. */
export const AGENT_PORT = { ttrpc: 1024, stdio: 1025, console: 1026, forward: 1027 } as const;

/**
 * The host's port that the agent connects to when the guest is up. vhost-device-vsock numbers the host's
 * connections from 0 and cannot skip a used number (src/vsock/README.md), so this is one that it never
 * reaches.
 */
export const HOST_PORT = 999_999_999;
