/*
 * Copies the data of a sparse file into a file of the same size without data:
 *
 *   copy-sparse FROM TO
 *
 * TO never changes its size, since a VMM that maps it may check that meanwhile; cp would truncate it first.
 * Holes are not read: dd reads them and takes twice as long for a small guest, ten times as long for a large
 * one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char buffer[1 << 20];

static void die(const char *step, const char *path) {
  fprintf(stderr, "copy-sparse: %s %s: %s\n", step, path, strerror(errno));
  exit(1);
}

static int open_file(const char *path, int flags, off_t *size) {
  struct stat about;
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &about) < 0)
    die("open", path);
  *size = about.st_size;
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fputs("usage: copy-sparse FROM TO\n", stderr);
    return 2;
  }
  off_t size, target_size, at, end;
  int from = open_file(argv[1], O_RDONLY, &size);
  int to = open_file(argv[2], O_WRONLY, &target_size);
  if (target_size != size) {
    fprintf(stderr, "copy-sparse: %s has %lld bytes, not %lld\n", argv[2], (long long)target_size,
            (long long)size);
    return 1;
  }
  for (at = 0; (at = lseek(from, at, SEEK_DATA)) >= 0; at = end) {
    end = lseek(from, at, SEEK_HOLE);
    if (end < 0)
      die("seek in", argv[1]);
    while (at < end) {
      size_t want = end - at < (off_t)sizeof(buffer) ? (size_t)(end - at) : sizeof(buffer);
      ssize_t got = pread(from, buffer, want, at);
      if (got == 0)
        errno = EIO; /* truncated meanwhile */
      if (got <= 0)
        die("read", argv[1]);
      for (ssize_t done = 0, written; done < got; done += written) {
        written = pwrite(to, buffer + done, got - done, at + done);
        if (written < 0)
          die("write", argv[2]);
      }
      at += got;
    }
  }
  if (errno != ENXIO)
    die("seek in", argv[1]); /* ENXIO: no data after `at` */
  return 0;
}
