/* Blocks SIGTERM, so that it stays pending; any other signal has its default effect. */
#include <signal.h>
#include <unistd.h>

int main(void) {
  static const char ready[] = "ready\n";
  sigset_t blocked;

  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  if (sigprocmask(SIG_BLOCK, &blocked, NULL) != 0)
    return 1;
  if (write(STDOUT_FILENO, ready, sizeof(ready) - 1) < 0)
    return 1;
  for (;;)
    pause();
}
