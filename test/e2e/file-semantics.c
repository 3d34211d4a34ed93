// Prints what a file system supports, one line per feature: `name ok`, or `name` and errno's text or what was
// found instead.
//   file-semantics check DIR        features that one process can check
//   file-semantics serve PATH       listens on a Unix socket and answers one connection
//   file-semantics connect PATH     connects to one
//   file-semantics lock PATH        takes flock and a record lock, and keeps them
//   file-semantics trylock PATH     prints whether they are available
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BLOCK 4096

static void report(const char *name, int good) {
  int error = errno;
  printf("%s %s\n", name, good ? "ok" : error ? strerror(error) : "wrong");
  errno = 0;
}

static int make(const char *path, const char *text) {
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd >= 0 && write(fd, text, strlen(text)) < 0)
    return -1;
  return fd;
}

static void owners_and_modes(void) {
  struct stat st;
  int fd = make("owned", "x");
  close(fd);
  report("owner",
         !chown("owned", 1234, 5678) && !stat("owned", &st) && st.st_uid == 1234 && st.st_gid == 5678);
  report("mode", !chmod("owned", 06751) && !stat("owned", &st) && (st.st_mode & 07777) == 06751);
  struct timespec times[2] = {{981173106, 123456789}, {981173107, 987654321}};
  report("nanosecond-times", !utimensat(AT_FDCWD, "owned", times, 0) && !stat("owned", &st) &&
                                 st.st_mtim.tv_nsec == 987654321 && st.st_atim.tv_nsec == 123456789);
}

static void attributes(void) {
  char value[16];
  report("user-xattr", !setxattr("owned", "user.key", "value", 5, 0) &&
                           getxattr("owned", "user.key", value, sizeof(value)) == 5);
  report("trusted-xattr", !setxattr("owned", "trusted.key", "value", 5, 0) &&
                              getxattr("owned", "trusted.key", value, sizeof(value)) == 5);
}

static void names(void) {
  struct stat one, other;
  close(make("a", "a"));
  report("hard-link", !link("a", "b") && !stat("a", &one) && !stat("b", &other) &&
                          one.st_ino == other.st_ino && other.st_nlink == 2);
  int fd = open("a", O_RDWR);
  report("rename-over-open",
         !close(make("c", "c")) && !rename("c", "a") && !fstat(fd, &one) && one.st_nlink == 1);
  report("rename-noreplace",
         renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE) < 0 && errno == EEXIST);
  report("rename-exchange", !renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
  char byte;
  report("unlink-open", !unlink("b") && !unlink("a") && pread(fd, &byte, 1, 0) == 1);
  close(fd);
  report("symlink", !symlink("owned", "link") && readlink("link", &byte, 1) == 1);
  report("fifo", !mkfifo("fifo", 0644));
  report("device-node", !mknod("null", S_IFCHR | 0666, 0x103) && (fd = open("null", O_WRONLY)) >= 0);
  close(fd);
  int temporary = open(".", O_TMPFILE | O_RDWR, 0600);
  report("unnamed-file", temporary >= 0);
  if (temporary >= 0)
    close(temporary);
  report("exclusive-create", open("owned", O_CREAT | O_EXCL | O_RDWR, 0600) < 0 && errno == EEXIST);
}

static void contents(void) {
  int fd = make("data", "");
  char *block = aligned_alloc(BLOCK, BLOCK), *back = aligned_alloc(BLOCK, BLOCK);
  memset(block, 'd', BLOCK);
  int direct = open("data", O_RDWR | O_DIRECT);
  report("direct", direct >= 0 && pwrite(direct, block, BLOCK, 0) == BLOCK &&
                       pread(direct, back, BLOCK, 0) == BLOCK && !memcmp(block, back, BLOCK));
  report("truncate", !ftruncate(fd, 3 * BLOCK) && lseek(fd, 0, SEEK_END) == 3 * BLOCK);
  char *map = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, BLOCK);
  if (map == MAP_FAILED) {
    report("shared-map", 0);
  } else {
    memset(map, 'm', BLOCK);
    report("shared-map", pread(fd, back, BLOCK, BLOCK) == BLOCK && back[7] == 'm');
    report("msync", !msync(map, BLOCK, MS_SYNC) && !munmap(map, BLOCK));
  }
  report("preallocate", !fallocate(fd, 0, 3 * BLOCK, BLOCK));
  report("punch-hole", !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BLOCK) &&
                           pread(fd, back, 1, 0) == 1 && back[0] == 0);
  report("seek-hole", lseek(fd, 0, SEEK_HOLE) >= 0);
  int copy = make("copy", "");
  loff_t from = BLOCK, to = 0;
  report("copy-range", copy_file_range(fd, &from, copy, &to, BLOCK, 0) == BLOCK);
  off_t offset = BLOCK;
  report("sendfile", sendfile(copy, fd, &offset, BLOCK) == BLOCK);
  report("sync", !fsync(fd) && !fdatasync(fd) && !syncfs(fd));
  int append = open("copy", O_WRONLY | O_APPEND);
  report("append", write(append, "x", 1) == 1 && lseek(append, 0, SEEK_CUR) == BLOCK + 1);
}

static int record_lock(int fd) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(fd, F_SETLK, &lock);
}

static void locks(void) {
  int fd = make("lock", "x");
  report("take-locks", !flock(fd, LOCK_EX | LOCK_NB) && !record_lock(fd));
  pid_t child = fork();
  if (child == 0) {
    int other = open("lock", O_RDWR);
    _exit(flock(other, LOCK_EX | LOCK_NB) < 0 && record_lock(other) < 0 ? 0 : 1);
  }
  int status;
  report("locks-exclude", waitpid(child, &status, 0) == child && status == 0);
}

static void notification(void) {
  int watch = inotify_init1(IN_NONBLOCK);
  inotify_add_watch(watch, ".", IN_CREATE);
  close(make("created", ""));
  struct pollfd ready = {.fd = watch, .events = POLLIN};
  report("inotify", poll(&ready, 1, 1000) == 1);
}

static int unix_socket(const char *path, struct sockaddr_un *address) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  snprintf(address->sun_path, sizeof(address->sun_path), "%s", path);
  return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int serve(const char *path) {
  struct sockaddr_un address;
  int fd = unix_socket(path, &address);
  if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 1))
    return -1;
  return fd;
}

static int reach(const char *path) {
  struct sockaddr_un address;
  int fd = unix_socket(path, &address);
  char answer;
  if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
    return -1;
  return read(fd, &answer, 1) == 1 ? 0 : -1;
}

static void answer(int listener) {
  int connection = accept(listener, NULL, NULL);
  if (write(connection, "!", 1) != 1)
    perror("answer");
  close(connection);
}

static void sockets(void) {
  int listener = serve("socket");
  pid_t child = fork();
  if (child == 0) {
    answer(listener);
    _exit(0);
  }
  report("unix-socket", listener >= 0 && !reach("socket"));
  waitpid(child, NULL, 0);
}

int main(int argc, char **argv) {
  const char *what = argc == 3 ? argv[1] : "";
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (!strcmp(what, "serve")) {
    int listener = serve(argv[2]);
    report("listening", listener >= 0);
    answer(listener);
  } else if (!strcmp(what, "connect")) {
    report("connect", !reach(argv[2]));
  } else if (!strcmp(what, "lock")) {
    int fd = make(argv[2], "x");
    report("locked", !flock(fd, LOCK_EX | LOCK_NB) && !record_lock(fd));
    pause();
  } else if (!strcmp(what, "trylock")) {
    int fd = open(argv[2], O_RDWR);
    report("flock", flock(fd, LOCK_EX | LOCK_NB) < 0);
    report("record-lock", record_lock(fd) < 0);
  } else if (!strcmp(what, "check") && !chdir(argv[2])) {
    owners_and_modes();
    attributes();
    names();
    contents();
    locks();
    notification();
    sockets();
  } else {
    fprintf(stderr, "usage: file-semantics check|serve|connect|lock|trylock PATH\n");
    return 2;
  }
  return 0;
}
