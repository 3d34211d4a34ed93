/* guest-agent/sys/relay.c: whatever is written, read, closed and called in between, the output equals the
 * input, `done` is called once, and no descriptor is left. First byte: types of the ends, drain. Then
 * pairs of bytes: operation, amount. */
#include "../../../guest-agent/sys/sys.h"
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

SEEDS(SEED("\x00\x00\x05\x01\xff\x00\x09\x03\x00"), SEED("\x05\x00\x40\x02\x00\x01\x20\x03\x00"),
      SEED("\x02\x00\x10\x02\x00\x05\x00\x01\x10\x03\x00"), SEED("\x10\x00\x40\x04\x00\x00\x40\x03\x00"),
      SEED("\x04\x00\xff\x00\xff\x00\xff\x06\x00"));

enum { PIPE, SOCKET, TERMINAL, UNIT = 97, ROUNDS = 100000 };
enum { WRITE, READ, TOTAL, END_WRITER, END_READER, NARROW, STOP, ACTIONS };

static JSContext *ctx;
static JSValue functions, done_function;

static struct {
  const uint8_t *data;
  size_t size, at;
  int source, target, writer, reader;
  int64_t id, written, read, moved;
  int done, error, rounds;
  bool stopped, drain, reader_ended;
} run;

/* The byte at a position of the stream; the period is not a power of two. */
static uint8_t byte_at(int64_t place) {
  return (uint8_t)(place * 7 + (place >> 8) * 13);
}

static void close_end(int *fd) {
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
}

static JSValue invoke(const char *name, int argc, JSValue *argv) {
  JSAtom atom = JS_NewAtom(ctx, name);
  JSValue result = JS_Invoke(ctx, functions, atom, argc, (JSValueConst *)argv);
  JS_FreeAtom(ctx, atom);
  CHECK(!JS_IsException(result));
  return result;
}

static JSValue done(JSContext *context, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self;
  CHECK(argc == 2 && !run.done++ && !run.stopped);
  CHECK(!JS_ToInt64(context, &run.moved, argv[0]) && !JS_ToInt32(context, &run.error, argv[1]));
  close_end(&run.source);
  close_end(&run.target);
  return JS_UNDEFINED;
}

static void open_ends(int kind, int *near, int *far, bool far_writes) {
  int ends[2];
  if (kind == TERMINAL) {
    struct termios raw;
    CHECK(openpty(&ends[0], &ends[1], NULL, NULL, NULL) == 0 && tcgetattr(ends[1], &raw) == 0);
    cfmakeraw(&raw);
    CHECK(tcsetattr(ends[1], TCSANOW, &raw) == 0);
    *near = ends[0];
    *far = ends[1];
  } else if (kind == SOCKET) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    *near = ends[0];
    *far = ends[1];
  } else {
    CHECK(pipe(ends) == 0);
    *near = ends[far_writes ? 0 : 1];
    *far = ends[far_writes ? 1 : 0];
  }
  CHECK(fcntl(*far, F_SETFL, O_NONBLOCK) == 0);
}

static void write_some(size_t size) {
  uint8_t bytes[256 * UNIT];
  if (run.writer < 0)
    return;
  for (size_t i = 0; i < size; i++)
    bytes[i] = byte_at(run.written + (int64_t)i);
  ssize_t put = write(run.writer, bytes, size);
  run.written += put > 0 ? put : 0;
}

/* Returns false at the end. */
static bool read_some(size_t size) {
  uint8_t bytes[256 * UNIT];
  if (run.reader < 0)
    return false;
  ssize_t got = read(run.reader, bytes, size);
  for (ssize_t i = 0; i < got; i++)
    CHECK(bytes[i] == byte_at(run.read + i));
  run.read += got > 0 ? got : 0;
  CHECK(run.read <= run.written);
  return got > 0 || (got < 0 && errno == EAGAIN);
}

static void ask_total(void) {
  JSValue id = JS_NewInt64(ctx, run.id), result = invoke("relayTotal", 1, &id);
  int64_t total;
  CHECK(!JS_ToInt64(ctx, &total, result));
  CHECK(run.done || run.stopped ? total == -1 : total >= run.read && total <= run.written);
}

static void act(int action, size_t size) {
  switch (action) {
  case WRITE:
    write_some(size);
    break;
  case READ:
    read_some(size);
    break;
  case TOTAL:
    ask_total();
    break;
  case END_WRITER:
    close_end(&run.writer);
    break;
  case END_READER:
    run.reader_ended |= run.reader >= 0;
    close_end(&run.reader);
    break;
  case NARROW:
    fcntl(run.target, F_SETPIPE_SZ, 4096);
    setsockopt(run.target, SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int));
    break;
  default:
    if (run.done || run.stopped)
      break;
    JSValue id = JS_NewInt64(ctx, run.id);
    JS_FreeValue(ctx, invoke("stopRelay", 1, &id));
    run.stopped = true;
    close_end(&run.source);
    close_end(&run.target);
  }
}

/* Makes one step per round of the loop, then reads until the relay has ended. */
static void step(void *owner) {
  (void)owner;
  CHECK(run.rounds++ < ROUNDS);
  if (run.at + 1 < run.size) {
    act(run.data[run.at] % ACTIONS, (size_t)run.data[run.at + 1] * UNIT);
    run.at += 2;
  } else {
    close_end(&run.writer);
    read_some(256 * UNIT);
  }
  if (run.at + 1 < run.size || (!run.done && !run.stopped))
    CHECK(sys_timer_start(0, step, NULL));
}

static void start(void) {
  signal(SIGPIPE, SIG_IGN);
  ctx = JS_NewContext(JS_NewRuntime());
  functions = JS_NewObject(ctx);
  JS_SetPropertyFunctionList(ctx, functions, sys_relay_table.entries, sys_relay_table.count);
  done_function = JS_NewCFunction(ctx, done, "done", 2);
}

static void nothing(void *owner) {
  (void)owner;
}

static void check_end(void) {
  CHECK(run.done == !run.stopped);
  while (run.done && read_some(256 * UNIT))
    continue;
  if (!run.done || run.reader_ended)
    return;
  CHECK(run.error == 0 && run.moved == run.written && run.read == run.written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1 || size > 256)
    return 0;
  if (!ctx) {
    start();
    sys_timer_start(0, nothing, NULL);
    sys_loop_run(ctx, true); /* it opens its own descriptor in its first round */
  }
  int before = open_descriptors();
  memset(&run, 0, sizeof(run));
  run.data = data + 1;
  run.size = size - 1;
  run.drain = data[0] & 16;
  open_ends((data[0] & 3) % 3, &run.source, &run.writer, true);
  open_ends((data[0] >> 2 & 1) ? SOCKET : PIPE, &run.target, &run.reader, false);
  JSValue arguments[4] = {JS_NewInt32(ctx, run.source), JS_NewInt32(ctx, run.target),
                          JS_NewBool(ctx, run.drain), done_function};
  JSValue id = invoke("relay", 4, arguments);
  CHECK(!JS_ToInt64(ctx, &run.id, id));
  CHECK(sys_timer_start(0, step, NULL));
  sys_loop_run(ctx, true);
  check_end();
  close_end(&run.writer);
  close_end(&run.reader);
  CHECK(run.source < 0 && run.target < 0);
  CHECK(open_descriptors() == before);
  return 0;
}
