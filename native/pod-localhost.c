/*
 * Relays connections to localhost in a pod's network namespace to localhost in the pod's VM, for port-forward
 * of crictl and kubectl. Runs in that namespace. A BPF program (BPF_PROG_TYPE_SK_LOOKUP, Linux 5.9) directs
 * every TCP connection to 127.0.0.0/8 or ::1 to this program's listening sockets, so no port need be known in
 * advance. The BPF link is released when this process exits: nothing is left behind.
 *
 *   pod-localhost SOCKET [USER]    the VM's hybrid vsock socket: "CONNECT <port>\n", answered by "OK <n>\n"
 *   pod-localhost cid:N [USER]     the VM's context id in the host kernel's vsock
 *
 * It starts as root, for the BPF program, and then drops all privileges: it continues as USER (a number), or
 * as root without any capability. It resets connections that it cannot serve.
 *
 * On vsock port 1027 the agent expects the pod's token (from the environment variable HULL_FORWARD_TOKEN),
 * the TCP port in two bytes, and then frames in both directions: two bytes of length, content; length 0 ends
 * that direction. Numbers are big-endian. Frames, because the close of a vsock connection may overtake its
 * last bytes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "confine.h"

#define AGENT_PORT 1027
#define TEXT(NUMBER) #NUMBER
#define CONNECT_LINE(NUMBER) "CONNECT " TEXT(NUMBER) "\n"
#define FRAME 16384
#define ANSWER_SECONDS 10
#define MAX_CONNECTIONS 128 /* a process each */
#define PAUSE_MS 100
#define LAST_BYTES_MS 60000
#define TOKEN_VARIABLE "HULL_FORWARD_TOKEN"
#define TOKEN 32

/* Sent first: the token, which authenticates this program to the guest, and the TCP port. */
static char greeting[TOKEN + sizeof(in_port_t)];

static void die(const char *step) {
  fprintf(stderr, "%s: %s\n", step, strerror(errno));
  exit(1);
}

static int bpf(int command, union bpf_attr *attr) {
  return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

#define INSN(CODE, DST, SRC, OFF, IMM)                                                                       \
  { .code = (CODE), .dst_reg = (DST), .src_reg = (SRC), .off = (OFF), .imm = (IMM) }
#define LOAD(FIELD) INSN(BPF_LDX | BPF_MEM | BPF_W, 0, 6, offsetof(struct bpf_sk_lookup, FIELD), 0)
#define IF_NOT(VALUE, OFF) INSN(BPF_JMP | BPF_JNE | BPF_K, 0, 0, OFF, VALUE)
#define IF(VALUE, OFF) INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, OFF, VALUE)
#define CALL(FUNCTION) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, FUNCTION)
#define COPY(DST, SRC) INSN(BPF_ALU64 | BPF_MOV | BPF_X, DST, SRC, 0, 0)
#define KEY(VALUE) INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, VALUE)

/* Directs connections to loopback addresses to the socket with key 0 (IPv4) or 1 (IPv6) of the map. */
static int load_program(int map) {
  const struct bpf_insn program[] = {
      /*  0 */ COPY(6, 1),
      /*  1 */ LOAD(protocol),
      /*  2 */ IF_NOT(IPPROTO_TCP, 30),
      /*  3 */ LOAD(family),
      /*  4 */ IF(AF_INET, 11),
      /*  5 */ IF_NOT(AF_INET6, 27),
      /*  6 */ LOAD(local_ip6[0]),
      /*  7 */ IF_NOT(0, 25),
      /*  8 */ LOAD(local_ip6[1]),
      /*  9 */ IF_NOT(0, 23),
      /* 10 */ LOAD(local_ip6[2]),
      /* 11 */ IF_NOT(0, 21),
      /* 12 */ LOAD(local_ip6[3]),
      /* 13 */ IF_NOT((__s32)htonl(1), 19),
      /* 14 */ KEY(1),
      /* 15 */ INSN(BPF_JMP | BPF_JA, 0, 0, 4, 0),
      /* 16 */ LOAD(local_ip4),
      /* 17 */ INSN(BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, (__s32)htonl(0xff000000)),
      /* 18 */ IF_NOT((__s32)htonl(0x7f000000), 14),
      /* 19 */ KEY(0),
      /* 20 */ COPY(2, 10),
      /* 21 */ INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4),
      /* 22 */ INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map),
      /* 23 */ INSN(0, 0, 0, 0, 0),
      /* 24 */ CALL(BPF_FUNC_map_lookup_elem),
      /* 25 */ IF(0, 7),
      /* 26 */ COPY(7, 0),
      /* 27 */ COPY(1, 6),
      /* 28 */ COPY(2, 7),
      /* 29 */ INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0),
      /* 30 */ CALL(BPF_FUNC_sk_assign),
      /* 31 */ COPY(1, 7),
      /* 32 */ CALL(BPF_FUNC_sk_release),
      /* 33 */ INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, SK_PASS),
      /* 34 */ INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
  union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SK_LOOKUP, .expected_attach_type = BPF_SK_LOOKUP};
  attr.insns = (uintptr_t)program;
  attr.insn_cnt = sizeof(program) / sizeof(*program);
  attr.license = (uintptr_t) "Apache-2.0";
  return bpf(BPF_PROG_LOAD, &attr);
}

/* Enables keep-alive probes every 15 s. A client that has closed its socket looks like one that has shut
 * down one direction, until its kernel forgets it (tcp_fin_timeout, a minute) and answers a probe with a
 * reset. */
static int find_lost_clients(int listener) {
  int on = 1, seconds = 15, times = 4;
  return setsockopt(listener, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) ||
         setsockopt(listener, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds)) ||
         setsockopt(listener, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds)) ||
         setsockopt(listener, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
}

static int listen_on(int family) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  /* Non-blocking: the client may close between poll(2) and accept. */
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int failed = family == AF_INET ? bind(fd, (struct sockaddr *)&v4, sizeof(v4))
                                 : bind(fd, (struct sockaddr *)&v6, sizeof(v6));
  if (fd >= 0 && (failed || find_lost_clients(fd) || listen(fd, 128))) {
    close(fd);
    return -1;
  }
  return fd;
}

/* Attaches the program to this network namespace. At least one address family is required. */
static void attach(const int listeners[2]) {
  union bpf_attr attr = {.map_type = BPF_MAP_TYPE_SOCKMAP, .key_size = 4, .value_size = 8, .max_entries = 2};
  int map = bpf(BPF_MAP_CREATE, &attr);
  if (map < 0)
    die("bpf: create a map");
  for (unsigned key = 0; key < 2; key++) {
    unsigned long long value = (unsigned long long)listeners[key];
    memset(&attr, 0, sizeof(attr));
    attr.map_fd = (unsigned)map;
    attr.key = (uintptr_t)&key;
    attr.value = (uintptr_t)&value;
    if (listeners[key] >= 0 && bpf(BPF_MAP_UPDATE_ELEM, &attr))
      die("bpf: add a socket to the map");
  }
  int program = load_program(map);
  if (program < 0)
    die("bpf: load the program");
  int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  memset(&attr, 0, sizeof(attr));
  attr.link_create.prog_fd = (unsigned)program;
  attr.link_create.target_fd = (unsigned)netns;
  attr.link_create.attach_type = BPF_SK_LOOKUP;
  if (netns < 0 || bpf(BPF_LINK_CREATE, &attr) < 0)
    die("bpf: attach the program");
  close(netns);
}

/* Returns whether all bytes were read; write_all likewise. */
static int read_all(int fd, void *buffer, size_t length) {
  for (char *at = buffer; length > 0;) {
    ssize_t got = read(fd, at, length);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return 0;
    at += got;
    length -= (size_t)got;
  }
  return 1;
}

static int write_all(int fd, const void *buffer, size_t length) {
  for (const char *at = buffer; length > 0;) {
    ssize_t put = write(fd, at, length);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return 0;
    at += put;
    length -= (size_t)put;
  }
  return 1;
}

/* Connects to the agent's relay through the kernel's vsock, or returns -1. The kernel's timeout is two
 * seconds (vsock(7)). */
static int dial_kernel(unsigned long cid) {
  struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = (unsigned)cid, .svm_port = AGENT_PORT};
  int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) ? -1 : fd;
}

/* Makes close send a reset, since the client would take an orderly end of the stream for an answer. */
static void reset_on_close(int tcp) {
  struct linger at_once = {.l_onoff = 1};
  setsockopt(tcp, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

/* Returns whether the answer is OK. False with EAGAIN: no answer yet. */
static int read_answer(int fd) {
  char answer = 0;
  for (int length = 0; answer != '\n'; length++) {
    errno = 0;
    if (length == 32 || !read_all(fd, &answer, 1) || (length == 0 && answer != 'O'))
      return 0;
  }
  return 1;
}

static int set_limits(int fd, time_t seconds) {
  struct timeval limit = {.tv_sec = seconds};
  return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
         setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

/* Connects to the agent's relay through a hybrid vsock socket, or returns -1. */
static int dial_hybrid(const char *name, int tcp) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, name); /* enter_directory has checked the length */
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  static const char call[] = CONNECT_LINE(AGENT_PORT);
  if (fd < 0 || set_limits(fd, ANSWER_SECONDS) || connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
      !write_all(fd, call, sizeof(call) - 1))
    return -1;
  if (!read_answer(fd)) {
    if (errno == EAGAIN) {
      /* Reset the client but wait for the answer: vhost-device-vsock crashes if it cannot deliver one. */
      reset_on_close(tcp);
      close(tcp);
      set_limits(fd, 0);
      read_answer(fd);
    }
    return -1;
  }
  set_limits(fd, 0);
  return fd;
}

/* Connects to the agent's relay for a TCP port, or returns -1: the caller then exits, which closes
 * everything. */
static int dial(const char *where, int tcp, in_port_t port) {
  int cid = strncmp(where, "cid:", 4) == 0;
  int fd = cid ? dial_kernel(strtoul(where + 4, NULL, 10)) : dial_hybrid(where, tcp);
  memcpy(greeting + TOKEN, &port, sizeof(port));
  return fd >= 0 && write_all(fd, greeting, sizeof(greeting)) ? fd : -1;
}

/* Bytes that have not been written to one end yet. */
struct bytes {
  unsigned char data[2 + FRAME];
  size_t at, end;
};

/* A connection. A direction has also ended if its receiver accepts no more data. */
struct relay {
  int tcp, guest;
  bool client_ended, guest_ended;
  struct bytes to_guest, to_client;
  unsigned char header[2];
  size_t header_length, content_left;
};

static bool waits(const struct bytes *bytes) {
  return bytes->at < bytes->end;
}

static bool only_not_now(void) {
  return errno == EAGAIN || errno == EINTR;
}

/* Returns false if this end accepts no more data. */
static bool flush(int fd, struct bytes *bytes) {
  ssize_t put = send(fd, bytes->data + bytes->at, bytes->end - bytes->at, MSG_DONTWAIT);
  if (put < 0)
    return only_not_now();
  bytes->at += (size_t)put;
  return true;
}

/* Reads into a frame. Returns false if the client has disconnected. */
static bool read_client(struct relay *relay) {
  struct bytes *frame = &relay->to_guest;
  ssize_t got = recv(relay->tcp, frame->data + 2, FRAME, MSG_DONTWAIT);
  if (got < 0)
    return only_not_now();
  frame->data[0] = (unsigned char)(got >> 8);
  frame->data[1] = (unsigned char)got;
  frame->at = 0;
  frame->end = 2 + (size_t)got;
  relay->client_ended = got == 0;
  return true;
}

/* Reads a part of a frame. Returns false at the end of the stream, or for data after the last frame. */
static bool read_guest(struct relay *relay) {
  bool content = relay->content_left > 0;
  struct bytes *to = &relay->to_client;
  size_t most = content ? relay->content_left : sizeof(relay->header) - relay->header_length;
  ssize_t got = recv(relay->guest, content ? to->data : relay->header + relay->header_length,
                     most < sizeof(to->data) ? most : sizeof(to->data), MSG_DONTWAIT);
  if (got <= 0)
    return got < 0 && only_not_now();
  if (relay->guest_ended)
    return false;
  if (content) {
    relay->content_left -= (size_t)got;
    to->at = 0;
    to->end = (size_t)got;
    return true;
  }
  relay->header_length += (size_t)got;
  if (relay->header_length < sizeof(relay->header))
    return true;
  relay->header_length = 0;
  relay->content_left = (size_t)relay->header[0] << 8 | relay->header[1];
  if (relay->content_left == 0) {
    relay->guest_ended = true;
    shutdown(relay->tcp, SHUT_WR);
  }
  return true;
}

/* Moves what can be moved without blocking. Returns false if the client has disconnected or the guest's
 * stream has ended. */
static bool move(struct relay *relay, bool client_ready, bool guest_ready) {
  if (guest_ready && waits(&relay->to_guest) && !flush(relay->guest, &relay->to_guest)) {
    /* Keep reading what it has sent before. */
    relay->to_guest.end = 0;
    relay->client_ended = true;
  }
  if (client_ready && waits(&relay->to_client) && !flush(relay->tcp, &relay->to_client))
    return false;
  if (client_ready && !relay->client_ended && !waits(&relay->to_guest) && !read_client(relay))
    return false;
  return !guest_ready || waits(&relay->to_client) || read_guest(relay);
}

/* Runs until both directions have ended or one end has disconnected; returns false if the client must get
 * a reset. */
static bool run_relay(struct relay *relay) {
  bool hung_up = false;
  while (!relay->client_ended || !relay->guest_ended || waits(&relay->to_guest)) {
    short for_client = waits(&relay->to_client) ? POLLOUT : 0,
          for_guest = waits(&relay->to_guest) ? POLLOUT : 0;
    if (!relay->client_ended && !for_guest)
      for_client |= POLLIN;
    if (!waits(&relay->to_client))
      for_guest |= POLLIN;
    /* poll(2) always reports errors and hang-ups. After TCP has ended in both directions it reports
     * nothing more, so the guest gets a timeout to take the rest. */
    bool last_bytes = hung_up && !for_client;
    struct pollfd ends[2] = {{.fd = last_bytes ? -1 : relay->tcp, .events = for_client},
                             {.fd = for_guest ? relay->guest : -1, .events = for_guest}};
    int ready = poll(ends, 2, last_bytes ? LAST_BYTES_MS : -1);
    if (ready < 0 && errno == EINTR)
      continue;
    if (ready <= 0 || ends[0].revents & POLLERR)
      return false;
    hung_up |= (ends[0].revents & POLLHUP) != 0;
    if (!move(relay, ends[0].revents, ends[1].revents))
      return relay->guest_ended;
  }
  return true;
}

static void serve(int tcp, const char *where) {
  struct sockaddr_in6 local; /* large enough for both families; the port has the same offset */
  socklen_t size = sizeof(local);
  struct relay relay = {.tcp = tcp};
  if (getsockname(tcp, (struct sockaddr *)&local, &size) ||
      (relay.guest = dial(where, tcp, local.sin6_port)) < 0 || !run_relay(&relay))
    reset_on_close(tcp);
}

/* Accepts a connection, if there is one; resets it if it cannot be served. Returns by how many the number
 * of served connections grows. */
static int take(int listener, int may_serve, const char *where, pid_t self) {
  int tcp = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (tcp < 0) {
    /* The connection is still pending, and poll(2) would return at once. */
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
      poll(NULL, 0, PAUSE_MS);
    return 0;
  }
  pid_t child = may_serve ? fork() : -1;
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == self)
      serve(tcp, where);
    _exit(0);
  }
  if (child < 0)
    reset_on_close(tcp);
  close(tcp);
  return child > 0;
}

/* Reaps children and returns their number. */
static int reap(int ended) {
  struct signalfd_siginfo info;
  int count = 0;
  while (read(ended, &info, sizeof(info)) > 0)
    ;
  while (waitpid(-1, NULL, WNOHANG) > 0)
    count++;
  return count;
}

/* Makes the directory of a hybrid socket the working directory, since the user may not be able to resolve
 * its path. Returns the name to connect to. */
static const char *enter_directory(char *where) {
  char *name = strrchr(where, '/');
  struct sockaddr_un address;
  if (strncmp(where, "cid:", 4) == 0 || !name)
    return where;
  *name++ = 0;
  if (strlen(name) >= sizeof(address.sun_path)) {
    errno = ENAMETOOLONG;
    die(name);
  }
  if (chdir(where))
    die(where);
  return name;
}

/* Drops all privileges. Changing the user clears the parent-death signal, so it is set again. */
static void drop_privileges(uid_t user) {
  pid_t parent = getppid();
  const char *failed = confine(user);
  if (failed)
    die(failed);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    exit(1);
}

static void read_token(void) {
  const char *token = getenv(TOKEN_VARIABLE);
  if (!token || strlen(token) != TOKEN) {
    fprintf(stderr, "pod-localhost: %s has no token of %d characters\n", TOKEN_VARIABLE, TOKEN);
    exit(2);
  }
  memcpy(greeting, token, TOKEN);
}

static int watch_children(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  int fd = sigprocmask(SIG_BLOCK, &set, NULL) ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0)
    die("signalfd");
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3) {
    fprintf(stderr, "usage: pod-localhost SOCKET|cid:N [USER]\n");
    return 2;
  }
  read_token();
  signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_DFL);
  const int listeners[2] = {listen_on(AF_INET), listen_on(AF_INET6)};
  if (listeners[0] < 0 && listeners[1] < 0)
    die("listen on localhost");
  const char *where = enter_directory(argv[1]);
  int ended = watch_children();
  attach(listeners);
  drop_privileges(argc == 3 ? (uid_t)strtoul(argv[2], NULL, 10) : 0);
  pid_t self = getpid();
  int connections = 0;
  struct pollfd ready[3] = {{.fd = ended, .events = POLLIN},
                            {.fd = listeners[0], .events = POLLIN},
                            {.fd = listeners[1], .events = POLLIN}};
  for (;;) {
    if (poll(ready, 3, -1) < 0 && errno != EINTR)
      die("poll");
    connections -= reap(ended);
    for (int each = 1; each < 3; each++)
      if (ready[each].revents & POLLIN)
        connections += take(ready[each].fd, connections < MAX_CONNECTIONS, where, self);
  }
}
