/* Runs a fuzz target without libFuzzer: mutates inputs at random and keeps those that reach an edge, or a
 * count of it, that none before has reached (gcc's -fsanitize-coverage=trace-pc). This file is compiled
 * without instrumentation.
 *
 *   PROGRAM [-seconds=N] [-runs=N] [-seed=N] [-file=PATH] [INPUT]
 *
 * The input that crashed the process is written to PATH (./crash). With INPUT only that file is tried. */
#include "fuzz.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sanitizer/common_interface_defs.h>

enum {
  LONGEST = 1024,
  KEPT = 4096,
  EDGES = 1 << 13,
  /* Timeout of one input in seconds: more is a hang. */
  TIMEOUT = 60,
};

static uint8_t counts[EDGES], seen[EDGES];
static uintptr_t before;

static struct {
  uint8_t *data;
  size_t size;
} kept[KEPT];
static size_t kept_count;

static uint8_t current[LONGEST];
static size_t current_size;
static const char *crash_file = "crash";
static bool finished;
static uint64_t state;

void __sanitizer_cov_trace_pc(void) {
  uintptr_t here = (uintptr_t)__builtin_return_address(0);
  uintptr_t edge = (here ^ before << 1) * 0x9e3779b97f4a7c15;
  counts[edge >> 51]++;
  before = here;
}

static size_t below(size_t limit) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return limit ? state % limit : 0;
}

/* Async-signal-safe. */
static void leave_input(void) {
  if (finished)
    return;
  finished = true;
  int fd = open(crash_file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || write(fd, current, current_size) < 0)
    return;
  close(fd);
  static const char text[] = "the input is in ";
  (void)!write(2, text, sizeof(text) - 1);
  (void)!write(2, crash_file, strlen(crash_file));
  (void)!write(2, "\n", 1);
}

static void ended(int number) {
  leave_input();
  signal(number, SIG_DFL);
  raise(number);
}

static void keep(void) {
  if (kept_count == KEPT)
    return;
  kept[kept_count].data = malloc(current_size + 1);
  memcpy(kept[kept_count].data, current, current_size);
  kept[kept_count++].size = current_size;
}

static uint8_t class_of(uint8_t count) {
  return count == 0    ? 0
         : count < 4   ? 1 << (count - 1)
         : count < 8   ? 8
         : count < 16  ? 16
         : count < 128 ? 32
                       : 64;
}

static void try_current(void) {
  memset(counts, 0, sizeof(counts));
  before = 0;
  alarm(TIMEOUT);
  LLVMFuzzerTestOneInput(current, current_size);
  bool is_new = false;
  for (size_t edge = 0; edge < EDGES; edge++) {
    if (!counts[edge] || !(class_of(counts[edge]) & ~seen[edge]))
      continue;
    seen[edge] |= class_of(counts[edge]);
    is_new = true;
  }
  if (is_new)
    keep();
}

static void insert(size_t at, const uint8_t *data, size_t size) {
  if (size > LONGEST - current_size)
    size = LONGEST - current_size;
  memmove(current + at + size, current + at, current_size - at);
  memcpy(current + at, data, size);
  current_size += size;
}

static void change(void) {
  static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xbf, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xff, '\n', 'O'};
  size_t at = below(current_size + 1), rest = current_size - at, size = below(rest < 32 ? rest + 1 : 32),
         other;
  uint8_t piece[LONGEST];
  switch (below(6)) {
  case 0:
    if (rest)
      current[at] ^= 1 << below(8);
    break;
  case 1:
    if (rest)
      current[at] = below(2) ? below(256) : odd[below(sizeof(odd))];
    break;
  case 2:
    memmove(current + at, current + at + size, rest - size);
    current_size -= size;
    break;
  case 3:
    memcpy(piece, current + at, size);
    insert(below(current_size + 1), piece, size);
    break;
  case 4:
    other = below(kept_count);
    size = below(kept[other].size + 1);
    insert(at, kept[other].data + below(kept[other].size - size + 1), size);
    break;
  default:
    piece[0] = odd[below(sizeof(odd))];
    insert(at, piece, 1);
  }
}

static void start_from(const void *data, size_t size) {
  current_size = size < LONGEST ? size : LONGEST;
  memcpy(current, data, current_size);
}

static int try_file(const char *path) {
  static uint8_t data[LONGEST];
  int fd = open(path, O_RDONLY);
  ssize_t size = read(fd, data, sizeof(data));
  if (size < 0) {
    perror(path);
    return 2;
  }
  start_from(data, (size_t)size);
  try_current();
  finished = true;
  return 0;
}

int main(int argc, char **argv) {
  long long seconds = 10, runs = 1LL << 60, tried = 0;
  state = (uint64_t)time(NULL);
  for (int i = 1; i < argc; i++) {
    if (!strncmp(argv[i], "-seconds=", 9))
      seconds = atoll(argv[i] + 9);
    else if (!strncmp(argv[i], "-runs=", 6))
      runs = atoll(argv[i] + 6);
    else if (!strncmp(argv[i], "-seed=", 6))
      state = strtoull(argv[i] + 6, NULL, 10);
    else if (!strncmp(argv[i], "-file=", 6))
      crash_file = argv[i] + 6;
  }
  printf("seed %llu\n", (unsigned long long)state);
  state = state * 2 + 1;
  __sanitizer_set_death_callback(leave_input);
  atexit(leave_input);
  signal(SIGABRT, ended);
  signal(SIGALRM, ended);
  if (argc > 1 && argv[argc - 1][0] != '-')
    return try_file(argv[argc - 1]);
  for (size_t i = 0; i < fuzz_seed_count; i++) {
    start_from(fuzz_seeds[i].data, fuzz_seeds[i].size);
    try_current();
    keep();
  }
  time_t end = time(NULL) + seconds;
  for (; tried < runs && (tried % 64 || time(NULL) < end); tried++) {
    size_t parent = below(2) || kept_count < 8 ? below(kept_count) : kept_count - 1 - below(8);
    start_from(kept[parent].data, kept[parent].size);
    for (size_t changes = 1 + below(4); changes; changes--)
      change();
    try_current();
  }
  size_t edges = 0;
  for (size_t edge = 0; edge < EDGES; edge++)
    edges += seen[edge] != 0;
  finished = true;
  printf("%lld inputs, %zu kept, %zu edges\n", tried, kept_count, edges);
  return 0;
}
