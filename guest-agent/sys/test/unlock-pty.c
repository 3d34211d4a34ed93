// For relay.ts: unlocks the slave of the pty master that is standard input.
#include <stdlib.h>

int main(void) {
  return unlockpt(0) != 0;
}
