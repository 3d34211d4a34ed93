/*
 * What keeps a shim small and Node has no function for. giveBack() returns to the kernel what V8 and malloc
 * keep for later; src/shim/idle-memory.ts says when. text() is a string without a copy of it in memory.
 *
 * V8's functions for the former are in its public interface (v8-isolate.h), which is C++: they are named here
 * as the Itanium C++ ABI names them, so that the build needs no C++ compiler. All is weak, so that a Node
 * without it loads this file all the same.
 */
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <node_api.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct isolate isolate;

/* v8::Isolate::GetCurrent() and v8::Isolate::LowMemoryNotification() */
extern isolate *current_isolate(void) __asm__("_ZN2v87Isolate10GetCurrentEv") __attribute__((weak));
extern void low_memory(isolate *) __asm__("_ZN2v87Isolate21LowMemoryNotificationEv") __attribute__((weak));

/* Node-API has it from Node 20.4 on; the headers of Node 20 only as an experiment. */
extern napi_status node_api_create_external_string_latin1(napi_env, char *, size_t, napi_finalize, void *,
                                                          napi_value *, bool *) __attribute__((weak));

/* giveBack(): collects all garbage, then returns the free pages of both heaps. */
static napi_value give_back(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
  if (current_isolate != NULL && low_memory != NULL)
    low_memory(current_isolate());
  malloc_trim(0);
  return NULL;
}

/* The file's bytes, where all processes that map the file share them; NULL when that fails. */
static char *map(const char *path, size_t *length) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status;
  char *bytes = MAP_FAILED;
  if (fd >= 0 && fstat(fd, &status) == 0) {
    *length = (size_t)status.st_size;
    bytes = mmap(NULL, *length, PROT_READ, MAP_PRIVATE, fd, 0);
  }
  if (fd >= 0)
    close(fd);
  return bytes == MAP_FAILED ? NULL : bytes;
}

/* text(path): the ASCII text of a file that is never written to, only replaced; undefined when that fails. */
static napi_value text(napi_env env, napi_callback_info info) {
  char path[PATH_MAX];
  size_t count = 1, length;
  napi_value argument, string;
  bool copied = false;
  if (node_api_create_external_string_latin1 == NULL ||
      napi_get_cb_info(env, info, &count, &argument, NULL, NULL) != napi_ok ||
      napi_get_value_string_utf8(env, argument, path, sizeof(path), NULL) != napi_ok)
    return NULL;
  char *bytes = map(path, &length);
  if (bytes == NULL)
    return NULL;
  napi_status made = node_api_create_external_string_latin1(env, bytes, length, NULL, NULL, &string, &copied);
  /* Without a copy the mapping is the string's for the life of the process. */
  if (made != napi_ok || copied)
    munmap(bytes, length);
  return made == napi_ok ? string : NULL;
}

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
      {.utf8name = "giveBack", .method = give_back, .attributes = napi_enumerable},
      {.utf8name = "text", .method = text, .attributes = napi_enumerable},
  };
  if (napi_define_properties(env, exports, sizeof(functions) / sizeof(*functions), functions) != napi_ok)
    return NULL;
  return exports;
}
