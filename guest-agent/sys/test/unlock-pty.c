// For relay.ts: unlocks the other side of the terminal that is standard input.
#include <stdlib.h>

int main(void) {
  return unlockpt(0) != 0;
}
