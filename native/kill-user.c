/*
 * kill-user USER: ends (SIGKILL) every process that runs as the user with this number; never root or the
 * system's. By one kill(-1) of a process that is that user: the kernel signals all of them in one step that
 * no fork can come in between (man 2 kill), whatever they have made of their parents, sessions and cgroups.
 *
 * Between becoming that user and that call those processes may signal it: then it is done once more.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is below belongs to the system's own users (hypervisor.rootless_first_id begins here). */
#define LEAST 1000u

static int fail(const char *step) {
  fprintf(stderr, "%s: %s\n", step, strerror(errno));
  return 1;
}

/* Keeps the right to change its user only: a kill(-1) with CAP_KILL would end the host's processes. */
static int may_only_change_user(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct only[2] = {
      {.effective = 1u << CAP_SETUID, .permitted = 1u << CAP_SETUID, .inheritable = 0}};
  return (int)syscall(SYS_capset, &header, only);
}

static int kill_as(uid_t user) {
  if (may_only_change_user())
    return fail("drop capabilities");
  if (setresuid(user, user, user))
    return fail("become the user");
  return kill(-1, SIGKILL) && errno != ESRCH ? fail("kill its processes") : 0;
}

int main(int argc, char **argv) {
  char *end = NULL;
  unsigned long user = argc == 2 ? strtoul(argv[1], &end, 10) : 0;
  if (end == NULL || *end != '\0' || user < LEAST || user >= (uid_t)-1) {
    fprintf(stderr, "usage: kill-user USER (a number from %u on)\n", LEAST);
    return 2;
  }
  for (;;) {
    pid_t child = fork();
    if (child < 0)
      return fail("fork");
    if (child == 0)
      _exit(kill_as((uid_t)user));
    int status = 0;
    while (waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status))
      kill(child, SIGKILL);
    if (WIFEXITED(status))
      return WEXITSTATUS(status);
  }
}
