/*
 * swap DIR TARGET: endlessly exchanges directories in DIR with symlinks to TARGET. Prints "up" once it does.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAIRS 40

static void make(const char *directory, const char *link, const char *target) {
  char file[32];
  snprintf(file, sizeof file, "%s/x", directory);
  int made = mkdir(directory, 0700) == 0 ? open(file, O_CREAT | O_WRONLY, 0600) : -1;
  if (made >= 0)
    close(made);
  (void)!symlink(target, link);
}

int main(int argc, char **argv) {
  if (argc != 3 || chdir(argv[1]))
    return 2;
  for (unsigned round = 0;; round++) {
    for (int pair = 0; pair < PAIRS; pair++) {
      char directory[16], link[16];
      snprintf(directory, sizeof directory, "a%d", pair);
      snprintf(link, sizeof link, "b%d", pair);
      make(directory, link, argv[2]);
      renameat2(AT_FDCWD, directory, AT_FDCWD, link, RENAME_EXCHANGE);
    }
    if (round == 0 && write(STDOUT_FILENO, "up\n", 3) != 3)
      return 1;
  }
}
