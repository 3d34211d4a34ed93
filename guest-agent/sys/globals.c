// The globals that code shared with Node uses: timers, performance.now, console (to stderr). The engine
// itself provides queueMicrotask.
#include "sys.h"

#include <stdio.h>

static JSValue set_timeout(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self;
  double ms = 0;
  if (argc > 1 && JS_ToFloat64(ctx, &ms, argv[1]))
    return JS_EXCEPTION;
  int extra = argc > 2 ? argc - 2 : 0;
  return sys_set_timeout(ctx, argc > 0 ? argv[0] : JS_UNDEFINED, ms, extra, argv + 2);
}

static JSValue clear_timeout(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self;
  return argc > 0 ? sys_clear_timeout(ctx, argv[0]) : JS_UNDEFINED;
}

static JSValue performance_now(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc, (void)argv;
  return JS_NewFloat64(ctx, sys_monotonic_ms());
}

// Prints values as String() converts them, errors with their stack. One line per call.
static JSValue console_print(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self;
  for (int i = 0; i < argc; i++) {
    const char *text = JS_ToCString(ctx, argv[i]);
    if (!text)
      return JS_EXCEPTION;
    fprintf(stderr, "%s%s", i ? " " : "", text);
    JS_FreeCString(ctx, text);
    JSValue stack = JS_IsError(argv[i]) ? JS_GetPropertyStr(ctx, argv[i], "stack") : JS_UNDEFINED;
    if (JS_IsString(stack) && (text = JS_ToCString(ctx, stack))) {
      fprintf(stderr, "\n%s", text);
      JS_FreeCString(ctx, text);
    }
    JS_FreeValue(ctx, stack);
  }
  fputc('\n', stderr);
  return JS_UNDEFINED;
}

static const JSCFunctionListEntry console_functions[] = {
    JS_CFUNC_DEF("log", 0, console_print),
    JS_CFUNC_DEF("warn", 0, console_print),
    JS_CFUNC_DEF("error", 0, console_print),
};
static const JSCFunctionListEntry performance_functions[] = {
    JS_CFUNC_DEF("now", 0, performance_now),
};
static const JSCFunctionListEntry global_functions[] = {
    JS_CFUNC_DEF("setTimeout", 2, set_timeout),
    JS_CFUNC_DEF("clearTimeout", 1, clear_timeout),
    JS_OBJECT_DEF("console", console_functions, 3, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE),
    JS_OBJECT_DEF("performance", performance_functions, 1, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE),
};

int sys_add_globals(JSContext *ctx) {
  JSValue global = JS_GetGlobalObject(ctx);
  int failed = JS_SetPropertyFunctionList(ctx, global, global_functions, 4) || sys_add_text(ctx, global);
  JS_FreeValue(ctx, global);
  return failed ? -1 : 0;
}
