// Main program for one bundle of bytecode: creates the engine, runs the module, then the loop until it is
// idle.
#include "sys.h"

#include <signal.h>
#include <stdio.h>
#include <sysexits.h>

// Linked in by bytecode.S.
extern const uint8_t hull_bytecode[], hull_bytecode_end[];

JSModuleDef *js_init_module_sys(JSContext *ctx, const char *name);

// Only what TypeScript compiled to ES2023 uses. Without eval, no code can come from outside.
static JSContext *new_context(JSRuntime *rt) {
  JSContext *ctx = JS_NewContextRaw(rt);
  if (!ctx || JS_AddIntrinsicBaseObjects(ctx) || JS_AddIntrinsicDate(ctx) || JS_AddIntrinsicRegExp(ctx) ||
      JS_AddIntrinsicJSON(ctx) || JS_AddIntrinsicMapSet(ctx) || JS_AddIntrinsicTypedArrays(ctx) ||
      JS_AddIntrinsicPromise(ctx) || JS_AddIntrinsicBigInt(ctx) || sys_add_globals(ctx) ||
      !js_init_module_sys(ctx, "sys"))
    return NULL;
  JS_AddIntrinsicRegExpCompiler(ctx);
  return ctx;
}

static JSValue evaluate(JSContext *ctx) {
  size_t length = (size_t)(hull_bytecode_end - hull_bytecode);
  JSValue module = JS_ReadObject(ctx, hull_bytecode, length, JS_READ_OBJ_BYTECODE);
  if (JS_IsException(module) || JS_ResolveModule(ctx, module))
    return JS_EXCEPTION;
  return JS_EvalFunction(ctx, module);
}

int main(int argc, char **argv) {
  // Writing to a closed pipe or socket returns EPIPE instead.
  signal(SIGPIPE, SIG_IGN);
  sys_process_arguments(argc, argv);
  JSRuntime *rt = JS_NewRuntime();
  JSContext *ctx = rt ? new_context(rt) : NULL;
  if (!ctx) {
    fputs("cannot start the JavaScript engine: out of memory\n", stderr);
    return 1;
  }
  sys_failure_install(rt);
  JSValue promise = evaluate(ctx);
  if (JS_IsException(promise)) {
    sys_failure_uncaught(ctx);
    return EX_SOFTWARE;
  }
  // A program that has run the loop itself is done when its module is, unless that still awaits something.
  sys_run_jobs(ctx);
  if (!sys_loop_was_run() || JS_PromiseState(ctx, promise) == JS_PROMISE_PENDING)
    sys_loop_run(ctx, true);
  int code = JS_PromiseState(ctx, promise) == JS_PROMISE_REJECTED ? EX_SOFTWARE : 0;
  if (JS_PromiseState(ctx, promise) == JS_PROMISE_PENDING) {
    fputs("the program has ended with nothing left that could settle its top-level await\n", stderr);
    code = EX_SOFTWARE;
  }
  JS_FreeValue(ctx, promise);
#ifdef HULL_FREE_ALL
  // For leak checkers only: otherwise the kernel frees it faster.
  sys_relay_free(ctx);
  sys_loop_free(ctx);
  sys_failure_free(ctx);
  JS_FreeContext(ctx);
  JS_FreeRuntime(rt);
#endif
  return code;
}
