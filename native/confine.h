#include <sys/types.h>

/*
 * Gives up, for this process and those it starts, for good: other users' files (all groups, and root's
 * identity where `user` is not 0), every capability, gaining any by exec, and every system call but those
 * that move bytes between sockets. Returns NULL, or the step that failed, with errno.
 */
const char *confine(uid_t user);
