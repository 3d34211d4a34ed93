/*
 * swap DIR TARGET: in DIR, for ever, puts links to TARGET where folders are, and folders where links are.
 * Says "up" once it does.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAIRS 40

static void make(const char *folder, const char *link, const char *target) {
  char file[32];
  snprintf(file, sizeof file, "%s/x", folder);
  int made = mkdir(folder, 0700) == 0 ? open(file, O_CREAT | O_WRONLY, 0600) : -1;
  if (made >= 0)
    close(made);
  (void)!symlink(target, link);
}

int main(int argc, char **argv) {
  if (argc != 3 || chdir(argv[1]))
    return 2;
  for (unsigned round = 0;; round++) {
    for (int pair = 0; pair < PAIRS; pair++) {
      char folder[16], link[16];
      snprintf(folder, sizeof folder, "a%d", pair);
      snprintf(link, sizeof link, "b%d", pair);
      make(folder, link, argv[2]);
      renameat2(AT_FDCWD, folder, AT_FDCWD, link, RENAME_EXCHANGE);
    }
    if (round == 0 && write(STDOUT_FILENO, "up\n", 3) != 3)
      return 1;
  }
}
