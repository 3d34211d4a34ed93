/*
 * Gives back to the kernel what V8 and malloc keep for later: src/shim/idle-memory.ts says when.
 *
 * Node offers no way to V8's own function for that. It is in V8's public interface (v8-isolate.h), which is
 * C++: it is named here as the Itanium C++ ABI names it, so that the build needs no C++ compiler, and weakly,
 * so that a Node without it loads this file all the same.
 */
#include <malloc.h>
#include <node_api.h>
#include <stddef.h>

typedef struct isolate isolate;

/* v8::Isolate::GetCurrent() and v8::Isolate::LowMemoryNotification() */
extern isolate *current_isolate(void) __asm__("_ZN2v87Isolate10GetCurrentEv") __attribute__((weak));
extern void low_memory(isolate *) __asm__("_ZN2v87Isolate21LowMemoryNotificationEv") __attribute__((weak));

/* giveBack(): collects all garbage, then returns the free pages of both heaps. */
static napi_value give_back(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
  if (current_isolate != NULL && low_memory != NULL)
    low_memory(current_isolate());
  malloc_trim(0);
  return NULL;
}

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
      {.utf8name = "giveBack", .method = give_back, .attributes = napi_enumerable},
  };
  if (napi_define_properties(env, exports, sizeof(functions) / sizeof(*functions), functions) != napi_ok)
    return NULL;
  return exports;
}
