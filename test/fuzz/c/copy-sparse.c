/* native/copy-sparse.c: the copy equals the file, wherever it has data and holes. Input: pairs of bytes:
 * hole, data. */
#define main copy_sparse_main
#include "../../../native/copy-sparse.c"
#undef main
#include "fuzz.h"

#include <sys/mman.h>

SEEDS(SEED("\x00\x01\x02\x03"), SEED("\x05\x00"), SEED("\x00\x40\x01\x00"), SEED("\x11\x07\x03\x09\x00\x01"));

enum { UNIT = 1500, LONGEST = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char bytes[LONGEST * 256 * UNIT], from_path[32], to_path[32];
  if (size > LONGEST)
    return 0;
  int from = memfd_create("from", MFD_CLOEXEC), to = memfd_create("to", MFD_CLOEXEC);
  CHECK(from >= 0 && to >= 0);
  off_t at = 0;
  for (size_t i = 0; i < size; i++) {
    size_t length = (size_t)data[i] * UNIT;
    memset(bytes, (int)(i + 1), length);
    CHECK(i % 2 == 0 || pwrite(from, bytes, length, at) == (ssize_t)length);
    at += (off_t)length;
  }
  CHECK(ftruncate(from, at) == 0 && ftruncate(to, at) == 0);
  snprintf(from_path, sizeof(from_path), "/proc/self/fd/%d", from);
  snprintf(to_path, sizeof(to_path), "/proc/self/fd/%d", to);
  errno = 0;
  CHECK(copy_sparse_main(3, (char *[]){"copy-sparse", from_path, to_path, NULL}) == 0);
  CHECK(lseek(to, 0, SEEK_END) == at);
  if (at > 0) {
    char *one = mmap(NULL, (size_t)at, PROT_READ, MAP_SHARED, from, 0);
    char *other = mmap(NULL, (size_t)at, PROT_READ, MAP_SHARED, to, 0);
    CHECK(one != MAP_FAILED && other != MAP_FAILED && !memcmp(one, other, (size_t)at));
    munmap(one, (size_t)at);
    munmap(other, (size_t)at);
  }
  close(from);
  close(to);
  return 0;
}
