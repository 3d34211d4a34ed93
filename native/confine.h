#include <sys/types.h>

/* Permanently gives up, for this process and its children: other users' files (all groups, and root's
 * identity unless `user` is 0), all capabilities, the ability to gain any through exec, and all system
 * calls except those that move bytes between sockets. Returns NULL, or the step that failed, with errno. */
const char *confine(uid_t user);
