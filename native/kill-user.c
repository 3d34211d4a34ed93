/* kill-user USER: kills (SIGKILL) every process of the user with this number, but never of root or a
 * system user. One kill(-1) by a process of that user signals all of them in one step, so that no fork can
 * escape it (kill(2)), regardless of their parents, sessions and cgroups. Prints the PIDs of those that have
 * not exited yet, one per line. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Lower numbers are system users (hypervisor.rootless_first_id starts here). */
#define LEAST 1000u
/* The highest number, which no range from rootless_first_id on contains. */
#define UNUSED_USER ((uid_t)-2)

static int fail(const char *step) {
  fprintf(stderr, "%s: %s\n", step, strerror(errno));
  return 1;
}

/* Keeps only the capability to change its user: kill(-1) with CAP_KILL would kill all processes of the
 * host. */
static int may_only_change_user(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct only[2] = {
      {.effective = 1u << CAP_SETUID, .permitted = 1u << CAP_SETUID, .inheritable = 0}};
  return (int)syscall(SYS_capset, &header, only);
}

/* Only the effective user is the target: a process may signal others by its effective user, and be
 * signalled by its real and saved one (kill_ok_by_cred in the kernel). If all three were the user, its
 * processes could repeatedly kill this one first by guessing the PIDs of the newest processes. */
static int kill_as(uid_t user) {
  if (may_only_change_user())
    return fail("drop capabilities");
  if (setresuid(UNUSED_USER, user, UNUSED_USER))
    return fail("become the user");
  return kill(-1, SIGKILL) && errno != ESRCH ? fail("kill its processes") : 0;
}

/* Kills in a child, which gives up privileges that the rest needs. Helpers of other pods have the same
 * real user, and their kill(-1) may hit the child: then it is repeated. */
static int kill_all_of(uid_t user) {
  for (;;) {
    pid_t child = fork();
    if (child < 0)
      return fail("fork");
    if (child == 0)
      _exit(kill_as(user));
    int status = 0;
    if (waitpid(child, &status, 0) != child)
      return fail("wait");
    if (WIFEXITED(status))
      return WEXITSTATUS(status);
  }
}

/* Whether a status file (proc(5)) is of a process that has this user (real, effective, saved or file
 * system) and has not exited. */
static int runs_as(const char *status, uid_t user) {
  const char *uids = strstr(status, "\nUid:\t"), *state = strstr(status, "\nState:\t");
  unsigned real, effective, saved, files;
  if (!uids || !state || sscanf(uids, "\nUid:\t%u\t%u\t%u\t%u", &real, &effective, &saved, &files) != 4)
    return 0;
  if (real != user && effective != user && saved != user && files != user)
    return 0;
  char letter = state[strlen("\nState:\t")];
  if (letter != 'Z' && letter != 'X')
    return 1;
  /* The first thread can exit while others keep running. */
  const char *threads = strstr(status, "\nThreads:\t");
  return threads && atoi(threads + strlen("\nThreads:\t")) > 1;
}

static int print_all_of(uid_t user) {
  DIR *processes = opendir("/proc");
  if (!processes)
    return fail("open /proc");
  struct dirent *entry;
  while ((errno = 0, entry = readdir(processes))) {
    if (!isdigit((unsigned char)entry->d_name[0]))
      continue;
    char path[sizeof entry->d_name + 16], status[8192];
    snprintf(path, sizeof path, "%s/status", entry->d_name);
    int file = openat(dirfd(processes), path, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : read(file, status, sizeof status - 1);
    if (size < 0 && errno != ENOENT && errno != ESRCH)
      return fail(path);
    if (file >= 0)
      close(file);
    status[size < 0 ? 0 : size] = '\0';
    if (runs_as(status, user))
      puts(entry->d_name);
  }
  return errno || fflush(stdout) ? fail("list processes") : 0;
}

int main(int argc, char **argv) {
  char *end = NULL;
  unsigned long user = argc == 2 ? strtoul(argv[1], &end, 10) : 0;
  if (end == NULL || *end != '\0' || user < LEAST || user >= UNUSED_USER) {
    fprintf(stderr, "usage: kill-user USER (a number from %u on)\n", LEAST);
    return 2;
  }
  int failure = kill_all_of((uid_t)user);
  return failure ? failure : print_all_of((uid_t)user);
}
