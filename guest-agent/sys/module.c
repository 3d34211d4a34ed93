// The module "sys", and the conventions of all its functions.
#include "sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const SysTable *const tables[] = {&sys_failure_table, &sys_loop_table,    &sys_files_table,
                                         &sys_mounts_table,  &sys_sockets_table, &sys_relay_table,
                                         &sys_process_table, &sys_machine_table};
enum { TABLES = sizeof(tables) / sizeof(tables[0]) };

JSValue sys_throw_errno(JSContext *ctx, int error, const char *call, const char *subject) {
  char message[512];
  snprintf(message, sizeof(message), "%s%s%s: %s", call, subject ? " " : "", subject ? subject : "",
           strerror(error));
  const char *name = strerrorname_np(error);
  JSValue thrown = JS_NewError(ctx);
  int flags = JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE;
  JS_DefinePropertyValueStr(ctx, thrown, "message", JS_NewString(ctx, message), flags);
  JS_DefinePropertyValueStr(ctx, thrown, "code", JS_NewString(ctx, name ? name : "EUNKNOWN"), JS_PROP_C_W_E);
  JS_DefinePropertyValueStr(ctx, thrown, "errno", JS_NewInt32(ctx, error), JS_PROP_C_W_E);
  return JS_Throw(ctx, thrown);
}

JSValue sys_throw(JSContext *ctx, const char *call, const char *subject) {
  return sys_throw_errno(ctx, errno, call, subject);
}

JSValue sys_done(JSContext *ctx, int result, const char *call, const char *subject) {
  return result < 0 ? sys_throw(ctx, call, subject) : JS_UNDEFINED;
}

JSValue sys_count(JSContext *ctx, int64_t result, const char *call, const char *subject) {
  if (result < 0 && errno != EAGAIN)
    return sys_throw(ctx, call, subject);
  return JS_NewInt64(ctx, result < 0 ? -1 : result);
}

bool sys_int(JSContext *ctx, JSValueConst value, int *out) {
  // Masks such as 0xffffffff are above INT_MAX: the conversion takes them modulo 2^32, as JavaScript does.
  return JS_ToInt32(ctx, out, value) == 0;
}

bool sys_optional_int(JSContext *ctx, JSValueConst value, int *out) {
  return JS_IsUndefined(value) || sys_int(ctx, value, out);
}

const char *sys_string(JSContext *ctx, JSValueConst value) {
  size_t length;
  if (!JS_IsString(value)) {
    JS_ThrowTypeError(ctx, "a string is expected");
    return NULL;
  }
  const char *text = JS_ToCStringLen(ctx, &length, value);
  if (text && strlen(text) != length) {
    JS_FreeCString(ctx, text);
    sys_throw_errno(ctx, EINVAL, "string with a NUL byte", NULL);
    return NULL;
  }
  return text;
}

bool sys_slice(JSContext *ctx, JSValueConst array, JSValueConst offset, JSValueConst length, uint8_t **out,
               size_t *size) {
  int64_t start, count;
  size_t total;
  // Numbers first: converting them may run JavaScript, which could detach the buffer.
  if (JS_ToInt64(ctx, &start, offset) || JS_ToInt64(ctx, &count, length))
    return false;
  uint8_t *bytes = JS_GetUint8Array(ctx, &total, array);
  if (!bytes && JS_HasException(ctx))
    return false;
  if (start < 0 || count < 0 || (uint64_t)start > total || (uint64_t)count > total - (uint64_t)start) {
    JS_ThrowRangeError(ctx, "offset %lld and length %lld are outside the buffer of %zu bytes",
                       (long long)start, (long long)count, total);
    return false;
  }
  *out = bytes + start;
  *size = (size_t)count;
  return true;
}

char **sys_strings(JSContext *ctx, JSValueConst array) {
  int64_t length;
  if (!JS_IsArray(array)) {
    JS_ThrowTypeError(ctx, "an array of strings is expected");
    return NULL;
  }
  if (JS_GetLength(ctx, array, &length) < 0)
    return NULL;
  char **strings = calloc((size_t)length + 1, sizeof(char *));
  if (!strings) {
    JS_ThrowOutOfMemory(ctx);
    return NULL;
  }
  for (int64_t i = 0; i < length; i++) {
    JSValue item = JS_GetPropertyInt64(ctx, array, i);
    const char *text = JS_IsException(item) ? NULL : sys_string(ctx, item);
    JS_FreeValue(ctx, item);
    if (text)
      strings[i] = strdup(text);
    if (!text || !strings[i]) {
      if (text)
        JS_ThrowOutOfMemory(ctx);
      JS_FreeCString(ctx, text);
      sys_free_strings(strings);
      return NULL;
    }
    JS_FreeCString(ctx, text);
  }
  return strings;
}

void sys_free_strings(char **strings) {
  if (!strings)
    return;
  for (char **item = strings; *item; item++)
    free(*item);
  free(strings);
}

static int fill_module(JSContext *ctx, JSModuleDef *module) {
  for (int i = 0; i < TABLES; i++)
    if (JS_SetModuleExportList(ctx, module, tables[i]->entries, tables[i]->count))
      return -1;
  return 0;
}

// The name that qjsc's -M option expects. Declared here because the engine's headers do not declare it.
JSModuleDef *js_init_module_sys(JSContext *ctx, const char *name);

JSModuleDef *js_init_module_sys(JSContext *ctx, const char *name) {
  JSModuleDef *module = JS_NewCModule(ctx, name, fill_module);
  for (int i = 0; module && i < TABLES; i++)
    if (JS_AddModuleExportList(ctx, module, tables[i]->entries, tables[i]->count))
      return NULL;
  return module;
}
