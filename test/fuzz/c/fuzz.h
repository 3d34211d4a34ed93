/* What every fuzzer in C has: an entry as libFuzzer calls it, and inputs to begin with for driver.c. */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Tries one input; a property that does not hold ends the process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Seed {
  const char *data;
  size_t size;
} Seed;
#define SEED(TEXT)                                                                                           \
  { TEXT, sizeof(TEXT) - 1 }

extern const Seed fuzz_seeds[];
extern const size_t fuzz_seed_count;
#define SEEDS(...)                                                                                           \
  const Seed fuzz_seeds[] = {__VA_ARGS__};                                                                   \
  const size_t fuzz_seed_count = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds)

#define CHECK(CONDITION)                                                                                     \
  do {                                                                                                       \
    if (!(CONDITION)) {                                                                                      \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #CONDITION);                         \
      abort();                                                                                               \
    }                                                                                                        \
  } while (0)

/* The number of open descriptors among the first ones: it must not grow. */
static inline int open_descriptors(void) {
  int count = 0;
  for (int fd = 0; fd < 64; fd++)
    count += fcntl(fd, F_GETFD) >= 0;
  return count;
}
