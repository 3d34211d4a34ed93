/* escape WAY: a compromised process that tries to survive its pod. Prints "up" once it runs, and keeps its
 * output open while any of its processes exists. Prints "hit" when it has signalled another process. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void say(const char *word) {
  if (write(STDOUT_FILENO, word, strlen(word)) < 0)
    _exit(1);
}

static void up(void) {
  say("up\n");
}

/* The PID of the newest process: the last field of /proc/loadavg (proc(5)). */
static pid_t newest(int loadavg) {
  char text[128];
  ssize_t length = pread(loadavg, text, sizeof(text) - 1, 0);
  text[length < 0 ? 0 : length] = '\0';
  const char *last = strrchr(text, ' ');
  return last ? atoi(last) : 0;
}

/* Kills new processes by guessing their PIDs. */
static void kill_newest(void) {
  int loadavg = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
  pid_t self = getpid();
  up();
  for (;;) {
    pid_t last = newest(loadavg);
    for (int attempts = 0; attempts < 6; attempts++)
      for (pid_t each = last; each <= last + 1; each++)
        if (each > self && kill(each, SIGKILL) == 0)
          say("hit\n");
  }
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
  /* Orphaned, in a new session. */
  if (fork() != 0 || setsid() < 0 || fork() != 0)
    return 0;
  if (strcmp(way, "sleeps") == 0)
    wait_on(NULL);
  if (strcmp(way, "forks endlessly") == 0) {
    up();
    while (fork() == 0) {
    }
    return 0;
  }
  if (strcmp(way, "kills every process it can") == 0) {
    up();
    for (;;)
      kill(-1, SIGKILL);
  }
  if (strcmp(way, "kills the newest") == 0)
    kill_newest();
  if (strcmp(way, "stops every process it can") == 0) {
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
    /* The host may forbid it. */
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0 || fork() == 0)
      wait_on(NULL);
    return 0;
  }
  return 2;
}
