// What becomes of errors that nobody catches: they are printed and the program ends. A guest agent that goes
// on after a programming error would leave the host waiting for answers that never come.
#include "sys.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct Rejection {
  struct Rejection *next;
  JSValue promise, reason;
} Rejection;

static Rejection *rejections;

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

void sys_failure_check(JSContext *ctx) {
  if (!rejections)
    return;
  for (Rejection *entry = rejections; entry; entry = entry->next)
    print_reason(ctx, "unhandled promise rejection", entry->reason);
  exit(1);
}

void sys_failure_uncaught(JSContext *ctx) {
  print_reason(ctx, "uncaught exception", JS_GetException(ctx));
  exit(1);
}
