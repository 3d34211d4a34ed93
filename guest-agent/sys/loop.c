// The event loop: one epoll descriptor, a list of timers, one signalfd. Callbacks are C functions; those of
// JavaScript are wrapped. Promise jobs run after every callback, so that JavaScript sees the same order as in
// Node.
#include "sys.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

typedef struct Watch {
  SysReady *ready;
  void *owner;
  // Distinguishes a new watch from an older one of the same descriptor whose event is still in the batch.
  uint32_t generation;
} Watch;

typedef struct Timer {
  int64_t id;
  double due;
  SysFired *fired;
  void *owner;
} Timer;

// The owner of a JavaScript watch or timer.
typedef struct Callback {
  JSContext *ctx;
  JSValue function;
  int argc;
  JSValue argv[];
} Callback;

static int epoll = -1;
static Watch *watches; // by descriptor
static int watch_capacity, watch_count;
static uint32_t next_generation;
static Timer *timers; // sorted, the next to fire is last
static int timer_capacity, timer_count;
static int64_t next_timer;
static bool stopped, was_run;
static int signal_descriptor = -1;
static sigset_t signals;
static Callback *signal_callbacks[_NSIG];
static JSContext *signal_context;

double sys_monotonic_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

// --- watches

static int control(int operation, int fd, uint32_t events, uint32_t generation) {
  struct epoll_event event = {.events = events, .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd};
  return epoll_ctl(epoll, operation, fd, &event) ? errno : 0;
}

int sys_watch(int fd, uint32_t events, SysReady *ready, void *owner) {
  if (fd < 0)
    return EBADF;
  if (epoll < 0 && (epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
    return errno;
  if (fd >= watch_capacity) {
    int capacity = fd + 64;
    Watch *grown = realloc(watches, (size_t)capacity * sizeof(Watch));
    if (!grown)
      return ENOMEM;
    for (int i = watch_capacity; i < capacity; i++)
      grown[i] = (Watch){0};
    watches = grown;
    watch_capacity = capacity;
  }
  if (watches[fd].ready)
    return EEXIST;
  uint32_t generation = ++next_generation;
  int error = control(EPOLL_CTL_ADD, fd, events, generation);
  if (error)
    return error;
  watches[fd] = (Watch){ready, owner, generation};
  watch_count++;
  return 0;
}

void sys_unwatch(int fd) {
  if (fd < 0 || fd >= watch_capacity || !watches[fd].ready)
    return;
  watches[fd] = (Watch){0};
  watch_count--;
  // Fails if the descriptor has been closed: then the kernel has removed it already.
  epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
}

// --- timers

int64_t sys_timer_start(double ms, SysFired *fired, void *owner) {
  if (timer_count == timer_capacity) {
    int capacity = timer_capacity * 2 + 16;
    Timer *grown = realloc(timers, (size_t)capacity * sizeof(Timer));
    if (!grown)
      return 0;
    timers = grown;
    timer_capacity = capacity;
  }
  Timer timer = {++next_timer, sys_monotonic_ms() + (ms > 0 ? ms : 0), fired, owner};
  // Of two timers due at the same time the older one fires first: it comes after the newer one.
  int low = 0, high = timer_count;
  while (low < high) {
    int middle = (low + high) / 2;
    if (timers[middle].due > timer.due)
      low = middle + 1;
    else
      high = middle;
  }
  for (int i = timer_count; i > low; i--)
    timers[i] = timers[i - 1];
  timers[low] = timer;
  timer_count++;
  return timer.id;
}

void *sys_timer_stop(int64_t id) {
  for (int i = timer_count - 1; i >= 0; i--) {
    if (timers[i].id != id)
      continue;
    void *owner = timers[i].owner;
    timer_count--;
    for (; i < timer_count; i++)
      timers[i] = timers[i + 1];
    return owner;
  }
  return NULL;
}

static int timer_wait(void) {
  if (!timer_count)
    return -1;
  double ms = ceil(timers[timer_count - 1].due - sys_monotonic_ms());
  return ms <= 0 ? 0 : ms > 3600e3 ? 3600 * 1000 : (int)ms;
}

static void fire_timers(JSContext *ctx) {
  double now = sys_monotonic_ms();
  // A timer started by one of these callbacks waits for the next round, or setTimeout(f, 0) could starve the
  // rest.
  int64_t newest = next_timer;
  while (timer_count && !stopped) {
    Timer timer = timers[timer_count - 1];
    if (timer.due > now || timer.id > newest)
      break;
    timer_count--;
    timer.fired(timer.owner);
    sys_run_jobs(ctx);
  }
}

// --- the loop

void sys_run_jobs(JSContext *ctx) {
  JSContext *job_context;
  int result;
  while ((result = JS_ExecutePendingJob(JS_GetRuntime(ctx), &job_context)))
    if (result < 0)
      sys_failure_uncaught(job_context);
  sys_failure_check(ctx);
  // A handler of a rejection may have queued new jobs.
  if (JS_IsJobPending(JS_GetRuntime(ctx)))
    sys_run_jobs(ctx);
}

bool sys_loop_was_run(void) {
  return was_run;
}

void sys_loop_run(JSContext *ctx, bool until_idle) {
  struct epoll_event events[64];
  stopped = false;
  sys_run_jobs(ctx);
  while (!stopped) {
    // The signal descriptor alone does not keep the loop running.
    bool busy = watch_count > (signal_descriptor >= 0) || timer_count;
    if (until_idle && !busy)
      break;
    int ready = epoll >= 0 || (epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0
                    ? epoll_wait(epoll, events, 64, timer_wait())
                    : -1;
    if (ready < 0 && errno != EINTR) {
      // The epoll descriptor is broken: no event would ever be reported again.
      perror("epoll_wait");
      abort();
    }
    for (int i = 0; i < ready && !stopped; i++) {
      int fd = (int)(uint32_t)events[i].data.u64;
      Watch watch = watches[fd];
      if (!watch.ready || watch.generation != (uint32_t)(events[i].data.u64 >> 32))
        continue;
      watch.ready(watch.owner, events[i].events);
      sys_run_jobs(ctx);
    }
    fire_timers(ctx);
  }
}

// --- JavaScript

void sys_call(JSContext *ctx, JSValueConst function, int argc, JSValueConst *argv) {
  JSValue result = JS_Call(ctx, function, JS_UNDEFINED, argc, argv);
  if (JS_IsException(result))
    sys_failure_uncaught(ctx);
  JS_FreeValue(ctx, result);
}

static Callback *callback_new(JSContext *ctx, JSValueConst function, int argc, JSValueConst *argv) {
  if (!JS_IsFunction(ctx, function)) {
    JS_ThrowTypeError(ctx, "the callback is not a function");
    return NULL;
  }
  Callback *callback = malloc(sizeof(Callback) + (size_t)argc * sizeof(JSValue));
  if (!callback) {
    JS_ThrowOutOfMemory(ctx);
    return NULL;
  }
  callback->ctx = ctx;
  callback->function = JS_DupValue(ctx, function);
  callback->argc = argc;
  for (int i = 0; i < argc; i++)
    callback->argv[i] = JS_DupValue(ctx, argv[i]);
  return callback;
}

static void callback_free(Callback *callback) {
  if (!callback)
    return;
  for (int i = 0; i < callback->argc; i++)
    JS_FreeValue(callback->ctx, callback->argv[i]);
  JS_FreeValue(callback->ctx, callback->function);
  free(callback);
}

static void watch_ready(void *owner, uint32_t events) {
  Callback *callback = owner;
  JSContext *ctx = callback->ctx;
  // The callback may call unwatch, which frees this record.
  JSValue function = JS_DupValue(ctx, callback->function);
  JSValue state = JS_NewObject(ctx);
  JS_SetPropertyStr(ctx, state, "read", JS_NewBool(ctx, events & (EPOLLIN | EPOLLRDHUP)));
  JS_SetPropertyStr(ctx, state, "write", JS_NewBool(ctx, events & EPOLLOUT));
  JS_SetPropertyStr(ctx, state, "hangup", JS_NewBool(ctx, events & (EPOLLHUP | EPOLLERR)));
  sys_call(ctx, function, 1, (JSValueConst *)&state);
  JS_FreeValue(ctx, state);
  JS_FreeValue(ctx, function);
}

void sys_unwatch_script(int fd) {
  if (fd < 0 || fd >= watch_capacity || watches[fd].ready != watch_ready)
    return;
  callback_free(watches[fd].owner);
  sys_unwatch(fd);
}

static bool flag(JSContext *ctx, JSValueConst object, const char *name) {
  JSValue value = JS_GetPropertyStr(ctx, object, name);
  bool set = JS_ToBool(ctx, value) > 0;
  JS_FreeValue(ctx, value);
  return set;
}

static JSValue js_watch(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  int fd;
  if (!sys_int(ctx, argv[0], &fd))
    return JS_EXCEPTION;
  uint32_t events = (flag(ctx, argv[1], "read") ? EPOLLIN : 0) | (flag(ctx, argv[1], "write") ? EPOLLOUT : 0);
  Callback *callback = callback_new(ctx, argv[2], 0, NULL);
  if (!callback)
    return JS_EXCEPTION;
  // Watching again changes the events. Only JavaScript's own watches can exist here: a relay watches
  // duplicates.
  sys_unwatch_script(fd);
  int error = sys_watch(fd, events, watch_ready, callback);
  if (error) {
    callback_free(callback);
    return sys_throw_errno(ctx, error, "epoll_ctl", NULL);
  }
  return JS_UNDEFINED;
}

static JSValue js_unwatch(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  int fd;
  if (!sys_int(ctx, argv[0], &fd))
    return JS_EXCEPTION;
  sys_unwatch_script(fd);
  return JS_UNDEFINED;
}

static void timeout_fired(void *owner) {
  Callback *callback = owner;
  sys_call(callback->ctx, callback->function, callback->argc, (JSValueConst *)callback->argv);
  callback_free(callback);
}

JSValue sys_set_timeout(JSContext *ctx, JSValueConst function, double ms, int argc, JSValueConst *argv) {
  Callback *callback = callback_new(ctx, function, argc, argv);
  if (!callback)
    return JS_EXCEPTION;
  int64_t id = sys_timer_start(ms, timeout_fired, callback);
  if (!id) {
    callback_free(callback);
    return JS_ThrowOutOfMemory(ctx);
  }
  return JS_NewInt64(ctx, id);
}

JSValue sys_clear_timeout(JSContext *ctx, JSValueConst value) {
  int64_t id;
  if (!JS_IsNumber(value))
    return JS_UNDEFINED;
  if (JS_ToInt64(ctx, &id, value))
    return JS_EXCEPTION;
  // JavaScript never gets ids of C timers (relays); a guessed one must not be freed as a callback.
  for (int i = 0; i < timer_count; i++)
    if (timers[i].id == id && timers[i].fired == timeout_fired) {
      callback_free(sys_timer_stop(id));
      break;
    }
  return JS_UNDEFINED;
}

static JSValue js_set_timer(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  double ms;
  if (JS_ToFloat64(ctx, &ms, argv[0]))
    return JS_EXCEPTION;
  return sys_set_timeout(ctx, argv[1], ms, 0, NULL);
}

static JSValue js_clear_timer(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  return sys_clear_timeout(ctx, argv[0]);
}

static void signal_ready(void *owner, uint32_t events) {
  (void)owner, (void)events;
  struct signalfd_siginfo info;
  while (read(signal_descriptor, &info, sizeof(info)) == sizeof(info)) {
    Callback *callback = info.ssi_signo < _NSIG ? signal_callbacks[info.ssi_signo] : NULL;
    if (!callback)
      continue;
    JSValue function = JS_DupValue(callback->ctx, callback->function);
    sys_call(signal_context, function, 0, NULL);
    JS_FreeValue(signal_context, function);
  }
}

static JSValue js_on_signal(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  int number;
  if (!sys_int(ctx, argv[0], &number))
    return JS_EXCEPTION;
  if (number < 1 || number >= _NSIG)
    return sys_throw_errno(ctx, EINVAL, "signalfd", NULL);
  Callback *callback = callback_new(ctx, argv[1], 0, NULL);
  if (!callback)
    return JS_EXCEPTION;
  sigaddset(&signals, number);
  int fd = signalfd(signal_descriptor, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  int error = fd < 0 ? errno : 0;
  if (!error && signal_descriptor < 0)
    error = sys_watch(fd, EPOLLIN, signal_ready, NULL);
  if (error) {
    callback_free(callback);
    return sys_throw_errno(ctx, error, "signalfd", NULL);
  }
  signal_descriptor = fd;
  signal_context = ctx;
  sigprocmask(SIG_BLOCK, &signals, NULL);
  callback_free(signal_callbacks[number]);
  signal_callbacks[number] = callback;
  return JS_UNDEFINED;
}

static JSValue js_run(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  was_run = true;
  sys_loop_run(ctx, JS_ToBool(ctx, argv[0]) > 0);
  return JS_UNDEFINED;
}

static JSValue js_stop(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)ctx, (void)self, (void)argc, (void)argv;
  stopped = true;
  return JS_UNDEFINED;
}

static JSValue js_monotonic_ms(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc, (void)argv;
  return JS_NewFloat64(ctx, sys_monotonic_ms());
}

void sys_loop_free(JSContext *ctx) {
  (void)ctx;
  for (int fd = 0; fd < watch_capacity; fd++)
    if (watches[fd].ready == watch_ready)
      callback_free(watches[fd].owner);
  for (int i = 0; i < timer_count; i++)
    if (timers[i].fired == timeout_fired)
      callback_free(timers[i].owner);
  for (int i = 0; i < _NSIG; i++)
    callback_free(signal_callbacks[i]);
  free(watches);
  free(timers);
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("watch", 3, js_watch),        JS_CFUNC_DEF("unwatch", 1, js_unwatch),
    JS_CFUNC_DEF("setTimer", 2, js_set_timer), JS_CFUNC_DEF("clearTimer", 1, js_clear_timer),
    JS_CFUNC_DEF("onSignal", 2, js_on_signal), JS_CFUNC_DEF("run", 1, js_run),
    JS_CFUNC_DEF("stop", 0, js_stop),          JS_CFUNC_DEF("monotonicMs", 0, js_monotonic_ms),
};
SYS_TABLE(sys_loop_table, functions);
