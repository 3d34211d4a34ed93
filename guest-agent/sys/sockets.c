// Pipes, terminals and sockets, all non-blocking and close-on-exec. unix(7), vsock(7), cmsg(3), tty_ioctl(4).
#include "sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/vm_sockets.h>

#define ARGS JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv
#define UNUSED (void)self, (void)argc
#define SOCKET_TYPE (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

static JSValue js_pipe(ARGS) {
  UNUSED;
  (void)argv;
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC))
    return sys_throw(ctx, "pipe2", NULL);
  JSValue pair = JS_NewArray(ctx);
  JS_SetPropertyUint32(ctx, pair, 0, JS_NewInt32(ctx, ends[0]));
  JS_SetPropertyUint32(ctx, pair, 1, JS_NewInt32(ctx, ends[1]));
  return pair;
}

static JSValue js_dup(ARGS) {
  UNUSED;
  int fd;
  if (!sys_int(ctx, argv[0], &fd))
    return JS_EXCEPTION;
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? sys_throw(ctx, "fcntl F_DUPFD_CLOEXEC", NULL) : JS_NewInt32(ctx, copy);
}

static JSValue netlink(JSContext *ctx, int protocol, unsigned groups) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd < 0)
    return sys_throw(ctx, "socket AF_NETLINK", NULL);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
  if (groups && bind(fd, (struct sockaddr *)&address, sizeof address)) {
    JSValue thrown = sys_throw(ctx, "bind AF_NETLINK", NULL);
    close(fd);
    return thrown;
  }
  return JS_NewInt32(ctx, fd);
}

static JSValue js_netlink_route(ARGS) {
  (void)self;
  int groups = 0;
  if (argc > 0 && !JS_IsUndefined(argv[0]) && !sys_int(ctx, argv[0], &groups))
    return JS_EXCEPTION;
  return netlink(ctx, NETLINK_ROUTE, (unsigned)groups);
}

static JSValue js_netlink_uevents(ARGS) {
  UNUSED;
  (void)argv;
  return netlink(ctx, NETLINK_KOBJECT_UEVENT, 1); // group 1: the kernel's own messages
}

static JSValue set_flag(JSContext *ctx, JSValueConst *argv, int get, int set, int flag) {
  int fd;
  if (!sys_int(ctx, argv[0], &fd))
    return JS_EXCEPTION;
  int flags = fcntl(fd, get);
  if (flags >= 0)
    flags = fcntl(fd, set, JS_ToBool(ctx, argv[1]) > 0 ? flags | flag : flags & ~flag);
  return sys_done(ctx, flags, "fcntl", NULL);
}

static JSValue js_set_nonblock(ARGS) {
  UNUSED;
  return set_flag(ctx, argv, F_GETFL, F_SETFL, O_NONBLOCK);
}

static JSValue js_set_cloexec(ARGS) {
  UNUSED;
  return set_flag(ctx, argv, F_GETFD, F_SETFD, FD_CLOEXEC);
}

static JSValue js_set_window_size(ARGS) {
  UNUSED;
  int fd, columns, rows;
  if (!sys_int(ctx, argv[0], &fd) || !sys_int(ctx, argv[1], &columns) || !sys_int(ctx, argv[2], &rows))
    return JS_EXCEPTION;
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
  return sys_done(ctx, ioctl(fd, TIOCSWINSZ, &size), "ioctl TIOCSWINSZ", NULL);
}

static JSValue socket_error(JSContext *ctx, int fd, const char *call, const char *subject) {
  int error = errno;
  if (fd >= 0)
    close(fd);
  return sys_throw_errno(ctx, error, call, subject);
}

static bool unix_address(const char *path, struct sockaddr_un *address) {
  size_t length = strlen(path);
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  errno = ENAMETOOLONG;
  if (length >= sizeof(address->sun_path))
    return false;
  memcpy(address->sun_path, path, length);
  return true;
}

static JSValue js_unix_listen(ARGS) {
  UNUSED;
  int backlog, mode;
  if (!sys_int(ctx, argv[1], &backlog) || !sys_int(ctx, argv[2], &mode))
    return JS_EXCEPTION;
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  struct sockaddr_un address;
  JSValue value;
  int fd = -1;
  if (!unix_address(path, &address) || (fd = socket(AF_UNIX, SOCKET_TYPE, 0)) < 0) {
    value = socket_error(ctx, fd, "socket", path);
  } else {
    // bind(2) creates the socket file with the mode of the socket's inode minus the umask, so it is never
    // open to others.
    mode_t mask = umask(0);
    int failed = fchmod(fd, (mode_t)mode) || bind(fd, (struct sockaddr *)&address, sizeof(address));
    int error = errno;
    umask(mask);
    errno = error;
    if (failed) {
      value = socket_error(ctx, fd, "bind", path);
    } else if (listen(fd, backlog)) {
      value = socket_error(ctx, fd, "listen", path);
      unlink(path);
    } else {
      value = JS_NewInt32(ctx, fd);
    }
  }
  JS_FreeCString(ctx, path);
  return value;
}

static JSValue js_unix_connect(ARGS) {
  UNUSED;
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  struct sockaddr_un address;
  JSValue value;
  int fd = -1;
  // A Unix socket connects at once, or fails with EAGAIN if the backlog is full; never EINPROGRESS.
  if (!unix_address(path, &address) || (fd = socket(AF_UNIX, SOCKET_TYPE, 0)) < 0 ||
      connect(fd, (struct sockaddr *)&address, sizeof(address)))
    value = socket_error(ctx, fd, "connect", path);
  else
    value = JS_NewInt32(ctx, fd);
  JS_FreeCString(ctx, path);
  return value;
}

static JSValue js_vsock_listen(ARGS) {
  UNUSED;
  int port, backlog;
  if (!sys_int(ctx, argv[0], &port) || !sys_int(ctx, argv[1], &backlog))
    return JS_EXCEPTION;
  struct sockaddr_vm address = {
      .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = (unsigned)port};
  int fd = socket(AF_VSOCK, SOCKET_TYPE, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, backlog))
    return socket_error(ctx, fd, "vsock listen", NULL);
  return JS_NewInt32(ctx, fd);
}

static JSValue js_vsock_connect(ARGS) {
  UNUSED;
  int cid, port;
  if (!sys_int(ctx, argv[0], &cid) || !sys_int(ctx, argv[1], &port))
    return JS_EXCEPTION;
  struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = (unsigned)cid, .svm_port = (unsigned)port};
  int fd = socket(AF_VSOCK, SOCKET_TYPE, 0);
  if (fd < 0 || (connect(fd, (struct sockaddr *)&address, sizeof(address)) && errno != EINPROGRESS))
    return socket_error(ctx, fd, "vsock connect", NULL);
  return JS_NewInt32(ctx, fd);
}

static JSValue js_tcp_connect(ARGS) {
  UNUSED;
  int port;
  if (!sys_int(ctx, argv[1], &port))
    return JS_EXCEPTION;
  const char *host = sys_string(ctx, argv[0]);
  if (!host)
    return JS_EXCEPTION;
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  int is_v4 = inet_pton(AF_INET, host, &v4.sin_addr) == 1;
  int fd = -1;
  JSValue value;
  errno = EINVAL;
  if (port < 1 || port > 65535 || (!is_v4 && inet_pton(AF_INET6, host, &v6.sin6_addr) != 1) ||
      (fd = socket(is_v4 ? AF_INET : AF_INET6, SOCKET_TYPE, 0)) < 0 ||
      ((is_v4 ? connect(fd, (struct sockaddr *)&v4, sizeof(v4))
              : connect(fd, (struct sockaddr *)&v6, sizeof(v6))) &&
       errno != EINPROGRESS))
    value = socket_error(ctx, fd, "connect", host);
  else
    value = JS_NewInt32(ctx, fd);
  JS_FreeCString(ctx, host);
  return value;
}

static JSValue js_accept(ARGS) {
  UNUSED;
  int fd;
  if (!sys_int(ctx, argv[0], &fd))
    return JS_EXCEPTION;
  int connection = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  // ECONNABORTED: the peer has closed before accept, so there is no connection.
  if (connection < 0 && errno == ECONNABORTED)
    errno = EAGAIN;
  return sys_count(ctx, connection, "accept", NULL);
}

static JSValue js_peer_cid(ARGS) {
  UNUSED;
  int fd;
  if (!sys_int(ctx, argv[0], &fd))
    return JS_EXCEPTION;
  struct sockaddr_vm peer;
  socklen_t length = sizeof(peer);
  if (getpeername(fd, (struct sockaddr *)&peer, &length))
    return sys_throw(ctx, "getpeername", NULL);
  if (peer.svm_family != AF_VSOCK || length < sizeof(peer))
    return sys_throw_errno(ctx, EAFNOSUPPORT, "getpeername", NULL);
  return JS_NewInt64(ctx, peer.svm_cid);
}

static JSValue js_shutdown(ARGS) {
  UNUSED;
  int fd, how;
  if (!sys_int(ctx, argv[0], &fd) || !sys_int(ctx, argv[1], &how))
    return JS_EXCEPTION;
  return sys_done(ctx, shutdown(fd, how), "shutdown", NULL);
}

static JSValue js_socket_error(ARGS) {
  UNUSED;
  int fd, error;
  socklen_t length = sizeof(error);
  if (!sys_int(ctx, argv[0], &fd))
    return JS_EXCEPTION;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length))
    return sys_throw(ctx, "getsockopt SO_ERROR", NULL);
  return JS_NewInt32(ctx, error);
}

static JSValue js_receive_fd(ARGS) {
  UNUSED;
  int fd;
  if (!sys_int(ctx, argv[0], &fd))
    return JS_EXCEPTION;
  char data[256];
  // Space for more than one, so that descriptors of a sender of several are not leaked.
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * 16)];
  } control;
  struct iovec part = {data, sizeof(data)};
  struct msghdr message = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof(control.bytes)};
  ssize_t count = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (count < 0)
    return sys_count(ctx, count, "recvmsg", NULL);
  int received = -1;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
      continue;
    size_t fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < fds; i++) {
      int each;
      memcpy(&each, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      if (received < 0)
        received = each;
      else
        close(each);
    }
  }
  if (received < 0)
    return sys_throw_errno(ctx, count ? EBADMSG : ECONNRESET, "recvmsg: no descriptor came", NULL);
  return JS_NewInt32(ctx, received);
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("pipe", 0, js_pipe),
    JS_CFUNC_DEF("dup", 1, js_dup),
    JS_CFUNC_DEF("netlinkRoute", 1, js_netlink_route),
    JS_CFUNC_DEF("netlinkUevents", 0, js_netlink_uevents),
    JS_CFUNC_DEF("setNonblock", 2, js_set_nonblock),
    JS_CFUNC_DEF("setCloexec", 2, js_set_cloexec),
    JS_CFUNC_DEF("setWindowSize", 3, js_set_window_size),
    JS_CFUNC_DEF("unixListen", 3, js_unix_listen),
    JS_CFUNC_DEF("unixConnect", 1, js_unix_connect),
    JS_CFUNC_DEF("vsockListen", 2, js_vsock_listen),
    JS_CFUNC_DEF("vsockConnect", 2, js_vsock_connect),
    JS_CFUNC_DEF("tcpConnect", 2, js_tcp_connect),
    JS_CFUNC_DEF("accept", 1, js_accept),
    JS_CFUNC_DEF("peerCid", 1, js_peer_cid),
    JS_CFUNC_DEF("shutdown", 2, js_shutdown),
    JS_CFUNC_DEF("socketError", 1, js_socket_error),
    JS_CFUNC_DEF("receiveFd", 1, js_receive_fd),
    SYS_CONST(SHUT_RD),
    SYS_CONST(SHUT_WR),
    SYS_CONST(SHUT_RDWR),
};
SYS_TABLE(sys_sockets_table, functions);
