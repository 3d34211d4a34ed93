/* native/pod-localhost.c: the answer of a VMM, and frames both ways. The first byte says which. */
#define main pod_localhost_main
#include "../../../native/pod-localhost.c"
#undef main
#include "fuzz.h"

SEEDS(SEED("\x00OK 1073741824\nfirst bytes"), SEED("\x01\x00\x05hello\x00\x00rest"),
      SEED("\x01\x00\x05hello\x00\x02"), SEED("\x02some bytes"));

enum { ANSWER, FROM_GUEST, TO_GUEST, LONGEST = 8192 };

/* A pair of sockets whose second end has sent `data` and sends no more. */
static void pair_with(int ends[2], const uint8_t *data, size_t size) {
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  CHECK(write_all(ends[1], data, size));
  shutdown(ends[1], SHUT_WR);
}

/* Whatever comes, to its end. */
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

/* The content of whole frames; *closed: a frame without content came. */
static size_t content_of(const uint8_t *data, size_t size, uint8_t out[LONGEST], bool *closed) {
  size_t total = 0, at = 0;
  *closed = false;
  while (size - at >= 2) {
    size_t length = (size_t)data[at] << 8 | data[at + 1];
    *closed = length == 0;
    if (*closed || length > size - at - 2)
      break;
    memcpy(out + total, data + at + 2, length);
    total += length;
    at += 2 + length;
  }
  return total;
}

static void check_from_guest(const uint8_t *data, size_t size) {
  static uint8_t expected[LONGEST], found[LONGEST];
  int guest[2], tcp[2];
  bool closed;
  size_t length = content_of(data, size, expected, &closed);
  pair_with(guest, data, size);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, tcp) == 0);
  from_guest(guest[0], tcp[0]);
  /* An end of the stream passes on as one; anything else breaks both off. */
  char byte;
  CHECK((recv(tcp[0], &byte, 1, MSG_DONTWAIT) < 0) == closed);
  CHECK(write(guest[0], "x", 1) == (closed ? 1 : -1));
  close(tcp[0]);
  CHECK(read_rest(tcp[1], found) == length && !memcmp(found, expected, length));
  close(tcp[1]);
  close(guest[0]);
  close(guest[1]);
}

static void check_to_guest(const uint8_t *data, size_t size) {
  static uint8_t framed[LONGEST], found[LONGEST];
  int guest[2], tcp[2];
  bool closed;
  pair_with(tcp, data, size);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, guest) == 0);
  to_guest(tcp[0], guest[0]);
  close(guest[0]);
  size_t length = content_of(framed, read_rest(guest[1], framed), found, &closed);
  CHECK(closed && length == size && !memcmp(found, data, size));
  close(guest[1]);
  close(tcp[0]);
  close(tcp[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  signal(SIGPIPE, SIG_IGN);
  if (size < 1 || size > 4096)
    return 0;
  int which = data[0] % 3;
  data++;
  size--;
  if (which == ANSWER)
    check_answer(data, size);
  else if (which == FROM_GUEST)
    check_from_guest(data, size);
  else
    check_to_guest(data, size);
  return 0;
}
