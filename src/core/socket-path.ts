/** The longest path of a unix socket: sun_path holds 108 bytes with the closing NUL (unix(7)). */
export const MAX_SOCKET_PATH = 107;
