/*
 * The program of the pause image for tests: waits until SIGTERM or SIGINT, on which it exits with 0, and
 * reaps children, because it may be PID 1 of a pod's PID namespace.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal_number) {
  (void)signal_number;
  _exit(0);
}

static void reap(int signal_number) {
  (void)signal_number;
  while (waitpid(-1, NULL, WNOHANG) > 0)
    ;
}

int main(void) {
  struct sigaction action = {.sa_handler = end};

  if (sigaction(SIGTERM, &action, NULL) != 0 || sigaction(SIGINT, &action, NULL) != 0)
    return 1;
  action.sa_handler = reap;
  if (sigaction(SIGCHLD, &action, NULL) != 0)
    return 1;
  for (;;)
    pause();
}
