// Relays: move bytes from one descriptor to another without passing them through JavaScript, with splice(2)
// if one side is a pipe, else with read and write through one buffer that all relays share, so that an idle
// relay holds no memory.
//
// A relay works on duplicates: a descriptor may be watched only once, but a terminal or socket is the source
// of one relay and the target of another. At any time exactly one side is waited for, by a watch or a timer,
// which also keeps the loop running. The source is not watched at all while the target is full, because epoll
// always reports hang-ups.
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  CHUNK = 64 * 1024,
  // Chunks to move before other callbacks get their turn.
  BUDGET = 16,
};

typedef struct Relay {
  struct Relay *next;
  JSContext *ctx;
  JSValue done;
  int64_t id, bytes, timer;
  int source, target;
  bool source_watched, target_watched;
  bool source_is_tty, target_is_tty;
  bool splice, drain, draining;
  int error;
  // Read, but not written to the target yet.
  uint8_t *pending;
  size_t start, end;
} Relay;

static Relay *relays;
static int64_t next_id;
static uint8_t buffer[CHUNK];

static void pump(Relay *relay);

static void release(Relay *relay) {
  for (Relay **link = &relays; *link; link = &(*link)->next)
    if (*link == relay) {
      *link = relay->next;
      break;
    }
  if (relay->timer)
    sys_timer_stop(relay->timer);
  if (relay->source_watched)
    sys_unwatch(relay->source);
  if (relay->target_watched)
    sys_unwatch(relay->target);
  close(relay->source);
  close(relay->target);
  JS_FreeValue(relay->ctx, relay->done);
  free(relay->pending);
  free(relay);
}

static void finish(Relay *relay, int error) {
  JSContext *ctx = relay->ctx;
  JSValue done = JS_DupValue(ctx, relay->done);
  JSValueConst values[2] = {JS_NewInt64(ctx, relay->bytes),
                            JS_NewInt32(ctx, relay->error ? relay->error : error)};
  // Close the duplicates first: `done` closes the originals, and the peer must see the end at once.
  release(relay);
  sys_call(ctx, done, 2, values);
  JS_FreeValue(ctx, done);
}

static void target_failed(Relay *relay, int error) {
  if (!relay->drain) {
    finish(relay, error);
    return;
  }
  relay->error = error;
  relay->draining = true;
  if (relay->target_watched)
    sys_unwatch(relay->target);
  relay->target_watched = false;
  pump(relay);
}

// --- waiting

static void again(void *owner) {
  Relay *relay = owner;
  relay->timer = 0;
  pump(relay);
}

// A descriptor that epoll refuses (a regular file, /dev/null) is always ready: continue in the next round.
static void pump_later(Relay *relay) {
  if (!relay->timer && !(relay->timer = sys_timer_start(0, again, relay)))
    finish(relay, ENOMEM);
}

static void source_ready(void *owner, uint32_t events) {
  (void)events;
  pump(owner);
}

static void target_ready(void *owner, uint32_t events) {
  Relay *relay = owner;
  // While waiting for the source, the target is watched for hang-up only.
  if (relay->source_watched && events & (EPOLLERR | EPOLLHUP))
    target_failed(relay, EPIPE);
  else
    pump(relay);
}

static void wait_for_source(Relay *relay) {
  int error;
  if (relay->source_watched)
    return;
  if (relay->target_watched) {
    sys_unwatch(relay->target);
    relay->target_watched = false;
  }
  error = sys_watch(relay->source, EPOLLIN, source_ready, relay);
  if (error == EPERM) {
    pump_later(relay);
    return;
  }
  if (error) {
    finish(relay, error);
    return;
  }
  relay->source_watched = true;
  // A terminal's master reports a hang-up whenever no process has the slave open, possibly for a moment only.
  if (!relay->draining && !relay->target_is_tty)
    relay->target_watched = sys_watch(relay->target, 0, target_ready, relay) == 0;
}

static void wait_for_target(Relay *relay) {
  if (relay->source_watched) {
    sys_unwatch(relay->source);
    relay->source_watched = false;
    if (relay->target_watched)
      sys_unwatch(relay->target);
    relay->target_watched = false;
  }
  if (relay->target_watched)
    return;
  int error = sys_watch(relay->target, EPOLLOUT, target_ready, relay);
  if (error == EPERM)
    pump_later(relay);
  else if (error)
    finish(relay, error);
  else
    relay->target_watched = true;
}

// --- moving: each step returns how to continue

typedef enum Step { MOVED, WAIT_SOURCE, WAIT_TARGET, ENDED } Step;

static Step source_failed(Relay *relay, int error) {
  if (error == EAGAIN)
    return WAIT_SOURCE;
  // EIO: the last process has closed the terminal (not in pts(4), but the kernel's n_tty returns it).
  finish(relay, error == EIO && relay->source_is_tty ? 0 : error);
  return ENDED;
}

static Step move_by_splice(Relay *relay) {
  ssize_t moved = splice(relay->source, NULL, relay->target, NULL, CHUNK, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (moved > 0) {
    relay->bytes += moved;
    return MOVED;
  }
  if (!moved) {
    finish(relay, 0);
    return ENDED;
  }
  if (errno == EINVAL) {
    // One of the sides does not support splice (a terminal, a file opened with O_APPEND).
    relay->splice = false;
    return MOVED;
  }
  if (errno != EAGAIN) {
    if (errno == EIO && relay->source_is_tty)
      finish(relay, 0);
    else
      target_failed(relay, errno);
    return ENDED;
  }
  // EAGAIN can mean either side.
  struct pollfd sides[2] = {{relay->source, POLLIN, 0}, {relay->target, POLLOUT, 0}};
  poll(sides, 2, 0);
  if (!sides[0].revents)
    return WAIT_SOURCE;
  if (!sides[1].revents)
    return WAIT_TARGET;
  relay->splice = false;
  return MOVED;
}

static Step drain_source(Relay *relay) {
  ssize_t got = read(relay->source, buffer, CHUNK);
  if (got > 0)
    return MOVED;
  if (got < 0)
    return source_failed(relay, errno);
  finish(relay, 0);
  return ENDED;
}

static Step write_pending(Relay *relay) {
  ssize_t put = write(relay->target, relay->pending + relay->start, relay->end - relay->start);
  if (put < 0 && errno == EAGAIN)
    return WAIT_TARGET;
  if (put < 0) {
    target_failed(relay, errno);
    return ENDED;
  }
  relay->bytes += put;
  relay->start += (size_t)put;
  if (relay->start < relay->end)
    return WAIT_TARGET;
  free(relay->pending);
  relay->pending = NULL;
  return MOVED;
}

static Step move_by_copy(Relay *relay) {
  if (relay->pending)
    return write_pending(relay);
  ssize_t got = read(relay->source, buffer, CHUNK);
  if (got < 0)
    return source_failed(relay, errno);
  if (!got) {
    finish(relay, 0);
    return ENDED;
  }
  ssize_t put = write(relay->target, buffer, (size_t)got);
  if (put < 0 && errno != EAGAIN) {
    target_failed(relay, errno);
    return ENDED;
  }
  put = put < 0 ? 0 : put;
  relay->bytes += put;
  if (put == got)
    return MOVED;
  relay->start = 0;
  relay->end = (size_t)(got - put);
  relay->pending = malloc(relay->end);
  if (!relay->pending) {
    finish(relay, ENOMEM);
    return ENDED;
  }
  memcpy(relay->pending, buffer + put, relay->end);
  return WAIT_TARGET;
}

static void pump(Relay *relay) {
  for (int i = 0; i < BUDGET; i++) {
    Step step = relay->draining ? drain_source(relay)
                : relay->splice ? move_by_splice(relay)
                                : move_by_copy(relay);
    if (step == WAIT_SOURCE)
      wait_for_source(relay);
    else if (step == WAIT_TARGET)
      wait_for_target(relay);
    if (step != MOVED)
      return;
  }
  // A watched descriptor is still ready and calls again; nothing is watched if a side is always ready.
  if (!relay->source_watched && !relay->target_watched)
    pump_later(relay);
}

// --- counting

// More than a pty can hold: 4 KiB in its line discipline, 64 KiB in its flip buffers (drivers/tty).
enum { TERMINAL_LIMIT = 256 * 1024 };

// A terminal's driver does not report how much it holds (FIONREAD counts one of its two buffers), so read it
// all.
static bool take_terminal(Relay *relay) {
  relay->splice = false;
  bool was_empty = !relay->pending;
  for (size_t taken = 0; taken < TERMINAL_LIMIT;) {
    ssize_t got = read(relay->source, buffer, CHUNK);
    if (got <= 0)
      break;
    size_t held = relay->pending ? relay->end - relay->start : 0;
    uint8_t *grown = malloc(held + (size_t)got);
    if (!grown)
      return false;
    if (held)
      memcpy(grown, relay->pending + relay->start, held);
    memcpy(grown + held, buffer, (size_t)got);
    free(relay->pending);
    relay->pending = grown;
    relay->start = 0;
    relay->end = held + (size_t)got;
    taken += (size_t)got;
  }
  // No watch is set for this data.
  if (was_empty && relay->pending)
    pump_later(relay);
  return true;
}

static JSValue js_relay_total(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  int64_t id;
  if (JS_ToInt64(ctx, &id, argv[0]))
    return JS_EXCEPTION;
  Relay *relay = relays;
  while (relay && relay->id != id)
    relay = relay->next;
  if (!relay)
    return JS_NewInt32(ctx, -1);
  if (relay->draining)
    return JS_NewInt64(ctx, relay->bytes);
  int waiting = 0;
  if (relay->source_is_tty) {
    if (!take_terminal(relay))
      return JS_ThrowOutOfMemory(ctx);
  } else if (ioctl(relay->source, FIONREAD, &waiting) < 0) {
    return sys_throw(ctx, "ioctl", "FIONREAD");
  }
  int64_t held = relay->pending ? (int64_t)(relay->end - relay->start) : 0;
  return JS_NewInt64(ctx, relay->bytes + held + waiting);
}

static JSValue js_readable(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  int fd, waiting = 0;
  if (!sys_int(ctx, argv[0], &fd))
    return JS_EXCEPTION;
  if (ioctl(fd, FIONREAD, &waiting) < 0)
    return sys_throw(ctx, "ioctl", "FIONREAD");
  return JS_NewInt32(ctx, waiting);
}

// --- JavaScript

static bool is_pipe(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 && S_ISFIFO(info.st_mode);
}

static int duplicate(int fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
    return -1;
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static JSValue js_relay(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  int source, target;
  if (!sys_int(ctx, argv[0], &source) || !sys_int(ctx, argv[1], &target))
    return JS_EXCEPTION;
  if (!JS_IsFunction(ctx, argv[3]))
    return JS_ThrowTypeError(ctx, "relay: `done` is not a function");
  Relay *relay = calloc(1, sizeof(*relay));
  if (!relay)
    return JS_ThrowOutOfMemory(ctx);
  relay->source = duplicate(source);
  relay->target = relay->source < 0 ? -1 : duplicate(target);
  if (relay->target < 0) {
    JSValue thrown = sys_throw(ctx, "relay", relay->source < 0 ? "source" : "target");
    if (relay->source >= 0)
      close(relay->source);
    free(relay);
    return thrown;
  }
  relay->ctx = ctx;
  relay->done = JS_DupValue(ctx, argv[3]);
  relay->drain = JS_ToBool(ctx, argv[2]) > 0;
  relay->splice = is_pipe(relay->source) || is_pipe(relay->target);
  relay->source_is_tty = isatty(relay->source);
  relay->target_is_tty = isatty(relay->target);
  int64_t id = relay->id = ++next_id;
  relay->next = relays;
  relays = relay;
  // The loop makes the first step, so that `done` never runs before relay() has returned.
  relay->timer = sys_timer_start(0, again, relay);
  if (!relay->timer) {
    release(relay);
    return JS_ThrowOutOfMemory(ctx);
  }
  return JS_NewInt64(ctx, id);
}

static JSValue js_stop_relay(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  int64_t id;
  if (JS_ToInt64(ctx, &id, argv[0]))
    return JS_EXCEPTION;
  for (Relay *relay = relays; relay; relay = relay->next)
    if (relay->id == id) {
      release(relay);
      break;
    }
  return JS_UNDEFINED;
}

void sys_relay_free(JSContext *ctx) {
  (void)ctx;
  while (relays)
    release(relays);
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("relay", 4, js_relay),
    JS_CFUNC_DEF("stopRelay", 1, js_stop_relay),
    JS_CFUNC_DEF("relayTotal", 1, js_relay_total),
    JS_CFUNC_DEF("readable", 1, js_readable),
};
SYS_TABLE(sys_relay_table, functions);
