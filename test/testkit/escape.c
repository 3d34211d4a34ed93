/*
 * escape WAY: a process that was taken over and does not want to end with its pod. Says "up" once it is one,
 * and holds its output open for as long as anything of it runs.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void up(void) {
  if (write(STDOUT_FILENO, "up\n", 3) != 3)
    _exit(1);
}

static void *wait_on(void *given) {
  up();
  for (;;)
    pause();
  return given;
}

int main(int argc, char **argv) {
  const char *way = argc == 2 ? argv[1] : "";
  prctl(PR_SET_PDEATHSIG, 0);
  /* Nobody's child, in a session of its own. */
  if (fork() != 0 || setsid() < 0 || fork() != 0)
    return 0;
  if (strcmp(way, "sleeps") == 0)
    wait_on(NULL);
  if (strcmp(way, "forks on and on") == 0) {
    up();
    while (fork() == 0) {
    }
    return 0;
  }
  if (strcmp(way, "kills whoever comes") == 0) {
    up();
    for (;;)
      kill(-1, SIGKILL);
  }
  if (strcmp(way, "stops whoever comes") == 0) {
    up();
    for (;;)
      kill(-1, SIGSTOP);
  }
  if (strcmp(way, "ends its first thread") == 0) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_on, NULL) == 0)
      syscall(SYS_exit, 0);
  }
  if (strcmp(way, "hides in namespaces") == 0) {
    /* A host may forbid it. */
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0 || fork() == 0)
      wait_on(NULL);
    return 0;
  }
  return 2;
}
