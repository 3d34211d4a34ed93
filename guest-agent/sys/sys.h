// Shared by the files of the sys module: the error convention, argument readers, the C side of the loop.
#pragma once

#include <quickjs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The functions and constants of one file; module.c combines all tables in one module.
typedef struct SysTable {
  const JSCFunctionListEntry *entries;
  int count;
} SysTable;

extern const SysTable sys_failure_table, sys_loop_table, sys_files_table, sys_mounts_table, sys_sockets_table,
    sys_relay_table, sys_process_table, sys_machine_table;

#define SYS_TABLE(name, list) const SysTable name = {list, (int)(sizeof(list) / sizeof((list)[0]))}
#define SYS_CONST(name) JS_PROP_INT64_DEF(#name, (int64_t)(name), JS_PROP_ENUMERABLE)

// --- module.c

// Throws an Error with `code`, `errno` and the message "call subject: text". `subject` may be NULL.
JSValue sys_throw_errno(JSContext *ctx, int error, const char *call, const char *subject);
// The same with the current errno.
JSValue sys_throw(JSContext *ctx, const char *call, const char *subject);
// Returns undefined, or the exception for a result below zero.
JSValue sys_done(JSContext *ctx, int result, const char *call, const char *subject);
// Returns a number, -1 for EAGAIN, or the exception.
JSValue sys_count(JSContext *ctx, int64_t result, const char *call, const char *subject);

// Argument readers: false if an exception is pending.
bool sys_int(JSContext *ctx, JSValueConst value, int *out);
bool sys_optional_int(JSContext *ctx, JSValueConst value, int *out);
// A string without NUL bytes (for the kernel), to be freed with JS_FreeCString; NULL with an exception.
const char *sys_string(JSContext *ctx, JSValueConst value);
// buffer[offset, offset + length) of a Uint8Array.
bool sys_slice(JSContext *ctx, JSValueConst array, JSValueConst offset, JSValueConst length, uint8_t **out,
               size_t *size);
// A NULL-terminated copy of an array of strings, to be freed with sys_free_strings; NULL with an exception.
char **sys_strings(JSContext *ctx, JSValueConst array);
void sys_free_strings(char **strings);

// --- loop.c
typedef void SysReady(void *owner, uint32_t epoll_events);
typedef void SysFired(void *owner);

// Watches `fd` for C code. Returns 0 or errno (EPERM: always ready, EEXIST: already watched).
int sys_watch(int fd, uint32_t epoll_events, SysReady *ready, void *owner);
void sys_unwatch(int fd);
// Removes JavaScript's watch of `fd`, if there is one; leaves C's own watches alone.
void sys_unwatch_script(int fd);
// Fires once after `ms`. Returns an id above zero, or 0 if out of memory.
int64_t sys_timer_start(double ms, SysFired *fired, void *owner);
// Stops a timer and returns its owner; NULL if it has fired or does not exist.
void *sys_timer_stop(int64_t id);
// Calls a JavaScript function from the loop; failure.c reports exceptions.
void sys_call(JSContext *ctx, JSValueConst function, int argc, JSValueConst *argv);
// Runs promise jobs until none is left, then reports unhandled rejections.
void sys_run_jobs(JSContext *ctx);
void sys_loop_run(JSContext *ctx, bool until_idle);
// Whether the program has called run() itself.
bool sys_loop_was_run(void);
// Frees what the loop holds (for leak checkers).
void sys_loop_free(JSContext *ctx);
double sys_monotonic_ms(void);
// setTimeout(callback, ms, ...arguments) for globals.c. Returns an id or an exception.
JSValue sys_set_timeout(JSContext *ctx, JSValueConst callback, double ms, int argc, JSValueConst *argv);
JSValue sys_clear_timeout(JSContext *ctx, JSValueConst id);

// --- relay.c
void sys_relay_free(JSContext *ctx);

// --- failure.c
void sys_failure_install(JSRuntime *rt);
// Reports unhandled rejections.
void sys_failure_check(JSContext *ctx);
// Reports the pending exception. Returns only if the program has a handler for it.
void sys_failure_uncaught(JSContext *ctx);
void sys_failure_free(JSContext *ctx);

// --- process.c
void sys_process_arguments(int argc, char **argv);

// --- globals.c, text.c
int sys_add_globals(JSContext *ctx);
int sys_add_text(JSContext *ctx, JSValueConst global);
