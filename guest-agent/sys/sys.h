// What the files of the sys module share: the error convention, argument readers, the C side of the loop.
#pragma once

#include <quickjs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// One file's functions and constants; module.c makes one module of all tables.
typedef struct SysTable {
  const JSCFunctionListEntry *entries;
  int count;
} SysTable;

extern const SysTable sys_failure_table, sys_loop_table, sys_files_table, sys_mounts_table, sys_sockets_table,
    sys_relay_table, sys_process_table, sys_machine_table;

#define SYS_TABLE(name, list) const SysTable name = {list, (int)(sizeof(list) / sizeof((list)[0]))}
#define SYS_CONST(name) JS_PROP_INT64_DEF(#name, (int64_t)(name), JS_PROP_ENUMERABLE)

// --- module.c
// ----------------------------------------------------------------------------------------------- Throws an
// Error with `code`, `errno` and the message "call subject: text". `subject` may be NULL.
JSValue sys_throw_errno(JSContext *ctx, int error, const char *call, const char *subject);
// The same with the current errno.
JSValue sys_throw(JSContext *ctx, const char *call, const char *subject);
// undefined, or the exception for a result below zero.
JSValue sys_done(JSContext *ctx, int result, const char *call, const char *subject);
// A number, -1 for EAGAIN, or the exception.
JSValue sys_count(JSContext *ctx, int64_t result, const char *call, const char *subject);

// Argument readers: false means that an exception is pending.
bool sys_int(JSContext *ctx, JSValueConst value, int *out);
bool sys_optional_int(JSContext *ctx, JSValueConst value, int *out);
// A string without NUL bytes (it goes to the kernel), freed by JS_FreeCString; NULL with an exception.
const char *sys_string(JSContext *ctx, JSValueConst value);
// buffer[offset, offset + length) of a Uint8Array.
bool sys_slice(JSContext *ctx, JSValueConst array, JSValueConst offset, JSValueConst length, uint8_t **out,
               size_t *size);
// A NULL-terminated copy of an array of strings, freed by sys_free_strings; NULL with an exception.
char **sys_strings(JSContext *ctx, JSValueConst array);
void sys_free_strings(char **strings);

// --- loop.c
// -------------------------------------------------------------------------------------------------
typedef void SysReady(void *owner, uint32_t epoll_events);
typedef void SysFired(void *owner);

// Watches `fd` for C code; 0 or errno (EPERM: a descriptor that is always ready, EEXIST: watched already).
int sys_watch(int fd, uint32_t epoll_events, SysReady *ready, void *owner);
void sys_unwatch(int fd);
// Ends JavaScript's watch of `fd` where there is one; C's own watches are left alone.
void sys_unwatch_script(int fd);
// Fires once after `ms`; the id is above zero, 0 means out of memory.
int64_t sys_timer_start(double ms, SysFired *fired, void *owner);
// Gives the owner of a timer that has not fired, NULL when there is none.
void *sys_timer_stop(int64_t id);
// Calls a JavaScript function from the loop; an exception is reported by failure.c.
void sys_call(JSContext *ctx, JSValueConst function, int argc, JSValueConst *argv);
// Runs promise jobs until none is left, then reports rejections that were not handled.
void sys_run_jobs(JSContext *ctx);
void sys_loop_run(JSContext *ctx, bool until_idle);
// Whether the program has called run() itself.
bool sys_loop_was_run(void);
// Frees what the loop still holds (for leak checkers).
void sys_loop_free(JSContext *ctx);
double sys_monotonic_ms(void);
// setTimeout(callback, ms, ...arguments) for globals.c: an id or an exception.
JSValue sys_set_timeout(JSContext *ctx, JSValueConst callback, double ms, int argc, JSValueConst *argv);
JSValue sys_clear_timeout(JSContext *ctx, JSValueConst id);

// --- relay.c
// ------------------------------------------------------------------------------------------------
void sys_relay_free(JSContext *ctx);

// --- failure.c
// ----------------------------------------------------------------------------------------------
void sys_failure_install(JSRuntime *rt);
// Reports the rejections that nobody has handled.
void sys_failure_check(JSContext *ctx);
// Reports the pending exception. Returns only when the program has a handler for it.
void sys_failure_uncaught(JSContext *ctx);
void sys_failure_free(JSContext *ctx);

// --- process.c
// ----------------------------------------------------------------------------------------------
void sys_process_arguments(int argc, char **argv);

// --- globals.c, text.c
// --------------------------------------------------------------------------------------
int sys_add_globals(JSContext *ctx);
int sys_add_text(JSContext *ctx, JSValueConst global);
