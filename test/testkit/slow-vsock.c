/* Preloaded: connect(2) of AF_VSOCK takes HULL_SLOW_VSOCK_MS, as with a guest that takes its time. Then it
 * fails with ECONNRESET or, with HULL_SLOW_VSOCK_CONNECTS, has connected to a peer that reads no more.
 * Without /dev/vhost-vsock there is no guest to connect to, and the kernel's connect fails at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

typedef int connect_function(int, const struct sockaddr *, socklen_t);

static void pause_for_delay(void) {
  const char *delay = getenv("HULL_SLOW_VSOCK_MS");
  usleep(delay == NULL ? 0 : (useconds_t)atoi(delay) * 1000);
}

static void *answer_later(void *peer) {
  static char data[1 << 16];
  int fd = (int)(intptr_t)peer;
  pause_for_delay();
  if (getenv("HULL_SLOW_VSOCK_CONNECTS") == NULL)
    close(fd); /* with unread data: the other end gets ECONNRESET */
  else
    while (read(fd, data, sizeof(data)) > 0)
      ;
  return NULL;
}

/* Puts a stream in the place of the socket that is not writable until it is answered. */
static int connect_later(int fd) {
  static const char data[1 << 16];
  int pair[2];
  pthread_t thread;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
    return -1;
  while (write(pair[0], data, sizeof(data)) > 0)
    ;
  if (dup3(pair[0], fd, O_CLOEXEC) < 0 ||
      pthread_create(&thread, NULL, answer_later, (void *)(intptr_t)pair[1]) != 0)
    return -1;
  close(pair[0]);
  pthread_detach(thread);
  errno = EINPROGRESS;
  return -1;
}

int connect(int fd, const struct sockaddr *to, socklen_t size) {
  if (to->sa_family != AF_VSOCK)
    return ((connect_function *)dlsym(RTLD_NEXT, "connect"))(fd, to, size);
  if ((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0)
    return connect_later(fd);
  pause_for_delay();
  errno = ECONNRESET;
  return -1;
}
