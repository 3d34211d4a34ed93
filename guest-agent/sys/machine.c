// The machine as a whole: modules, host name, clock, entropy, reboot. init_module(2), reboot(2), random(4).
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <linux/module.h>
#include <linux/random.h>

#define ARGS JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv
#define UNUSED (void)self, (void)argc

static JSValue js_load_module(ARGS) {
  UNUSED;
  const char *path = sys_string(ctx, argv[0]);
  const char *parameters = path ? sys_string(ctx, argv[1]) : NULL;
  JSValue value = JS_EXCEPTION;
  if (parameters) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      value = sys_throw(ctx, "open", path);
    } else {
      size_t length = strlen(path);
      bool plain = length > 3 && !strcmp(path + length - 3, ".ko");
      long result = syscall(SYS_finit_module, fd, parameters, plain ? 0 : MODULE_INIT_COMPRESSED_FILE);
      value = result && errno != EEXIST ? sys_throw(ctx, "finit_module", path) : JS_UNDEFINED;
      close(fd);
    }
  }
  JS_FreeCString(ctx, path);
  JS_FreeCString(ctx, parameters);
  return value;
}

static JSValue js_set_hostname(ARGS) {
  UNUSED;
  const char *name = sys_string(ctx, argv[0]);
  if (!name)
    return JS_EXCEPTION;
  JSValue value = sys_done(ctx, sethostname(name, strlen(name)), "sethostname", name);
  JS_FreeCString(ctx, name);
  return value;
}

static JSValue js_uname(ARGS) {
  UNUSED;
  (void)argv;
  struct utsname names;
  if (uname(&names))
    return sys_throw(ctx, "uname", NULL);
  JSValue value = JS_NewObject(ctx);
  JS_SetPropertyStr(ctx, value, "sysname", JS_NewString(ctx, names.sysname));
  JS_SetPropertyStr(ctx, value, "nodename", JS_NewString(ctx, names.nodename));
  JS_SetPropertyStr(ctx, value, "release", JS_NewString(ctx, names.release));
  JS_SetPropertyStr(ctx, value, "version", JS_NewString(ctx, names.version));
  JS_SetPropertyStr(ctx, value, "machine", JS_NewString(ctx, names.machine));
  return value;
}

static JSValue js_set_clock(ARGS) {
  UNUSED;
  int64_t nanoseconds;
  if (JS_ToBigInt64(ctx, &nanoseconds, argv[0]))
    return JS_EXCEPTION;
  struct timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  return sys_done(ctx, clock_settime(CLOCK_REALTIME, &time), "clock_settime", NULL);
}

static JSValue js_add_entropy(ARGS) {
  UNUSED;
  size_t length;
  uint8_t *bytes = JS_GetUint8Array(ctx, &length, argv[0]);
  if (!bytes)
    return JS_HasException(ctx) ? JS_EXCEPTION : JS_UNDEFINED;
  if (length > 4096)
    return sys_throw_errno(ctx, E2BIG, "addEntropy: more than 4096 bytes", NULL);
  struct rand_pool_info *pool = malloc(sizeof(*pool) + length);
  if (!pool)
    return JS_ThrowOutOfMemory(ctx);
  pool->entropy_count = (int)length * 8;
  pool->buf_size = (int)length;
  memcpy(pool->buf, bytes, length);
  JSValue value;
  int fd = open("/dev/random", O_RDWR | O_CLOEXEC);
  if (fd < 0)
    value = sys_throw(ctx, "open", "/dev/random");
  else if (ioctl(fd, RNDADDENTROPY, pool))
    value = sys_throw(ctx, "ioctl RNDADDENTROPY", NULL);
  else
    value = sys_done(ctx, ioctl(fd, RNDRESEEDCRNG), "ioctl RNDRESEEDCRNG", NULL);
  if (fd >= 0)
    close(fd);
  explicit_bzero(pool->buf, length);
  free(pool);
  return value;
}

static JSValue js_random(ARGS) {
  UNUSED;
  int length;
  if (!sys_int(ctx, argv[0], &length))
    return JS_EXCEPTION;
  // getrandom(2) does not return short for up to 256 bytes.
  uint8_t bytes[256];
  if (length < 0 || length > (int)sizeof(bytes))
    return JS_ThrowRangeError(ctx, "random: length %d is not 0 to 256", length);
  if (getrandom(bytes, (size_t)length, 0) != length)
    return sys_throw(ctx, "getrandom", NULL);
  return JS_NewUint8ArrayCopy(ctx, bytes, (size_t)length);
}

static JSValue js_reboot(ARGS) {
  UNUSED;
  int command;
  if (!sys_int(ctx, argv[0], &command))
    return JS_EXCEPTION;
  return sys_done(ctx, reboot(command), "reboot", NULL);
}

#define REBOOT_POWER_OFF RB_POWER_OFF
#define REBOOT_RESTART RB_AUTOBOOT

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("loadModule", 2, js_load_module),
    JS_CFUNC_DEF("setHostname", 1, js_set_hostname),
    JS_CFUNC_DEF("uname", 0, js_uname),
    JS_CFUNC_DEF("setClock", 1, js_set_clock),
    JS_CFUNC_DEF("addEntropy", 1, js_add_entropy),
    JS_CFUNC_DEF("random", 1, js_random),
    JS_CFUNC_DEF("reboot", 1, js_reboot),
    SYS_CONST(REBOOT_POWER_OFF),
    SYS_CONST(REBOOT_RESTART),
};
SYS_TABLE(sys_machine_table, functions);
