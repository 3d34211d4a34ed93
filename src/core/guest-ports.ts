/** The guest's vsock ports that the agent listens on. */
export const AGENT_PORT = { ttrpc: 1024, stdio: 1025, console: 1026, forward: 1027 } as const;

/**
 * The host's port that the agent calls when the guest is up. vhost-device-vsock numbers the host's own connections from
 * 0 on and can't step over a number that is taken (src/vsock/README.md), so this is one that they never reach.
 */
export const HOST_PORT = 999_999_999;
