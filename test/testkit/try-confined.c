/* Drops its privileges with native/confine.c, then prints the result of each call that it tries, one per
 * line. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"

#define USER 1500000001

/* Without stdio, which makes other system calls. */
static void report(const char *what, long answer) {
  char line[80];
  int length = snprintf(line, sizeof(line), "%s: %s\n", what, answer < 0 ? strerrorname_np(errno) : "yes");
  if (write(1, line, (size_t)length) != length)
    _exit(3);
}

static void try_clone(const char *what, unsigned long flags) {
  long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0)
    _exit(0);
  report(what, pid);
  if (pid > 0)
    wait4((pid_t)pid, NULL, 0, NULL);
}

int main(void) {
  if (confine(USER))
    return 2;
  try_clone("fork", 0);
  try_clone("user namespace", CLONE_NEWUSER);
  try_clone("user and network namespace", CLONE_NEWUSER | CLONE_NEWNET);
  report("unix socket", socket(AF_UNIX, SOCK_STREAM, 0));
  report("netlink socket", socket(AF_NETLINK, SOCK_RAW, 0));
  report("network socket", socket(AF_INET, SOCK_STREAM, 0));
  return 0;
}
