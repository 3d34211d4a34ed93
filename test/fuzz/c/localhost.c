/* native/pod-localhost.c: the answer of a VMM, or frames in both directions; the first byte selects which. */
#define main pod_localhost_main
#include "../../../native/pod-localhost.c"
#undef main
#include "fuzz.h"

SEEDS(SEED("\x00OK 1073741824\nfirst bytes"), SEED("\x01\x00\x00\x05hello\x00\x00rest"),
      SEED("\x01\x04some\x00\x05hello\x00\x02"), SEED("\x01\x0asome bytes\x00\x00"));

enum { ANSWER, RELAY, LONGEST = 8192 };

/* Creates a pair of sockets whose second end has sent `data` and shut down. */
static void pair_with(int ends[2], const uint8_t *data, size_t size) {
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  CHECK(write_all(ends[1], data, size));
  shutdown(ends[1], SHUT_WR);
}

/* Reads to the end of the stream. */
static size_t read_rest(int fd, uint8_t out[LONGEST]) {
  size_t length = 0;
  ssize_t got;
  while ((got = read(fd, out + length, LONGEST - length)) > 0)
    length += (size_t)got;
  CHECK(length < LONGEST);
  return length;
}

static void check_answer(const uint8_t *data, size_t size) {
  static uint8_t rest[LONGEST];
  int ends[2];
  pair_with(ends, data, size);
  const uint8_t *end = memchr(data, '\n', size < 32 ? size : 32);
  bool good = size > 0 && data[0] == 'O' && end;
  CHECK(read_answer(ends[0]) == good);
  if (good) {
    size_t length = (size_t)(end + 1 - data);
    CHECK(read_rest(ends[0], rest) == size - length && !memcmp(rest, data + length, size - length));
  }
  close(ends[0]);
  close(ends[1]);
}

/* Extracts the content of frames, also of a truncated one; *rest: bytes after an empty frame, or -1. */
static size_t content_of(const uint8_t *data, size_t size, uint8_t out[LONGEST], ssize_t *rest) {
  size_t total = 0, at = 0;
  *rest = -1;
  while (size - at >= 2) {
    size_t length = (size_t)data[at] << 8 | data[at + 1];
    at += 2;
    if (length == 0) {
      *rest = (ssize_t)(size - at);
      break;
    }
    if (length > size - at)
      length = size - at;
    memcpy(out + total, data + at, length);
    total += length;
    at += length;
  }
  return total;
}

/* Both directions at once; the first bytes are from the client, the others from the guest. */
static void check_relay(const uint8_t *data, size_t size) {
  static uint8_t expected[LONGEST], framed[LONGEST], found[LONGEST];
  int guest[2], tcp[2];
  ssize_t rest, client_rest;
  size_t sent = size > 0 ? data[0] % size : 0;
  const uint8_t *from_client = data + (size > 0), *from_guest = from_client + sent;
  size_t received = size > 0 ? size - 1 - sent : 0;
  size_t length = content_of(from_guest, received, expected, &rest);
  pair_with(tcp, from_client, sent);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, guest) == 0);
  CHECK(write_all(guest[1], from_guest, received));
  if (rest < 0)
    shutdown(guest[1], SHUT_WR);
  struct relay relay = {.tcp = tcp[0], .guest = guest[0]};
  CHECK(run_relay(&relay) == (rest >= 0));
  close(tcp[0]);
  close(guest[0]);
  CHECK(read_rest(tcp[1], found) == length && !memcmp(found, expected, length));
  /* Everything, unless the guest has disconnected, or sent more than its last frame. */
  size_t taken = content_of(framed, read_rest(guest[1], framed), found, &client_rest);
  CHECK(taken <= sent && !memcmp(found, from_client, taken));
  CHECK(rest != 0 || (client_rest == 0 && taken == sent));
  close(tcp[1]);
  close(guest[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  signal(SIGPIPE, SIG_IGN);
  if (size < 1 || size > 4096)
    return 0;
  if (data[0] % 2 == ANSWER)
    check_answer(data + 1, size - 1);
  else
    check_relay(data + 1, size - 1);
  return 0;
}
