// Uncaught errors: passed to the program's handler (onUncaught) or, without one, printed; the program then
// exits with EX_SOFTWARE. To continue by default would leave callers waiting for answers that never come.
#include "sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

typedef struct Rejection {
  struct Rejection *next;
  JSValue promise, reason;
} Rejection;

static Rejection *rejections;
static JSValue handler;
static bool has_handler;

static void print_reason(JSContext *ctx, const char *what, JSValueConst reason) {
  const char *text = JS_ToCString(ctx, reason);
  fprintf(stderr, "%s: %s\n", what, text ? text : "(no text)");
  JS_FreeCString(ctx, text);
  JSValue stack = JS_IsError(reason) ? JS_GetPropertyStr(ctx, reason, "stack") : JS_UNDEFINED;
  if (JS_IsString(stack) && (text = JS_ToCString(ctx, stack))) {
    fputs(text, stderr);
    JS_FreeCString(ctx, text);
  }
  JS_FreeValue(ctx, stack);
}

static void track(JSContext *ctx, JSValueConst promise, JSValueConst reason, bool is_handled, void *opaque) {
  (void)opaque;
  if (!is_handled) {
    Rejection *entry = malloc(sizeof(*entry));
    if (!entry)
      abort();
    *entry = (Rejection){rejections, JS_DupValue(ctx, promise), JS_DupValue(ctx, reason)};
    rejections = entry;
    return;
  }
  for (Rejection **link = &rejections; *link; link = &(*link)->next) {
    Rejection *entry = *link;
    if (JS_VALUE_GET_PTR(entry->promise) != JS_VALUE_GET_PTR(promise))
      continue;
    *link = entry->next;
    JS_FreeValue(ctx, entry->promise);
    JS_FreeValue(ctx, entry->reason);
    free(entry);
    return;
  }
}

void sys_failure_install(JSRuntime *rt) {
  JS_SetHostPromiseRejectionTracker(rt, track, NULL);
}

// Passes `reason` (which it frees) to the handler; exits if there is none or it throws.
static void report(JSContext *ctx, const char *what, JSValue reason) {
  if (!has_handler) {
    print_reason(ctx, what, reason);
    exit(EX_SOFTWARE);
  }
  JSValue function = JS_DupValue(ctx, handler);
  JSValue result = JS_Call(ctx, function, JS_UNDEFINED, 1, (JSValueConst *)&reason);
  JS_FreeValue(ctx, function);
  JS_FreeValue(ctx, reason);
  if (JS_IsException(result)) {
    print_reason(ctx, "exception in the onUncaught handler", JS_GetException(ctx));
    exit(EX_SOFTWARE);
  }
  JS_FreeValue(ctx, result);
}

void sys_failure_check(JSContext *ctx) {
  while (rejections) {
    Rejection *entry = rejections;
    rejections = entry->next;
    JS_FreeValue(ctx, entry->promise);
    report(ctx, "unhandled promise rejection", entry->reason);
    free(entry);
  }
}

void sys_failure_uncaught(JSContext *ctx) {
  report(ctx, "uncaught exception", JS_GetException(ctx));
}

void sys_failure_free(JSContext *ctx) {
  if (has_handler)
    JS_FreeValue(ctx, handler);
}

static JSValue js_on_uncaught(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  if (!JS_IsFunction(ctx, argv[0]))
    return JS_ThrowTypeError(ctx, "the callback is not a function");
  sys_failure_free(ctx);
  has_handler = true;
  handler = JS_DupValue(ctx, argv[0]);
  return JS_UNDEFINED;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("onUncaught", 1, js_on_uncaught),
};
SYS_TABLE(sys_failure_table, functions);
