/*
 * The program of the test pause image: waits for ever, ends with 0 on SIGTERM or SIGINT, and reaps children,
 * because it is PID 1 of a pod's PID namespace.
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
