/* Reduces the memory of a shim where Node has no function for it. releaseFreePages() returns to the kernel
 * what V8 and malloc keep for later (src/shim/idle-memory.ts decides when). text() returns a string without a
 * copy in memory.
 *
 * The V8 functions are in its public interface (v8-isolate.h), which is C++: they are declared here by
 * their names in the Itanium C++ ABI, so that the build needs no C++ compiler. All are weak, so that a
 * Node without them still loads this file. */
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

/* In Node-API since Node 20.4; experimental in the headers of Node 20. */
extern napi_status node_api_create_external_string_latin1(napi_env, char *, size_t, napi_finalize, void *,
                                                          napi_value *, bool *) __attribute__((weak));

/* releaseFreePages(): collects garbage, then returns the free pages of both heaps. */
static napi_value release_free_pages(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
  if (current_isolate != NULL && low_memory != NULL)
    low_memory(current_isolate());
  malloc_trim(0);
  return NULL;
}

/* Maps a file, whose pages all processes that map it share. Returns NULL on failure. */
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

/* text(path): the content of an ASCII file that is only ever replaced, never written to; undefined on
 * failure. */
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
  /* If Node has not copied it, the string uses the mapping for the life of the process. */
  if (made != napi_ok || copied)
    munmap(bytes, length);
  return made == napi_ok ? string : NULL;
}

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
      {.utf8name = "releaseFreePages", .method = release_free_pages, .attributes = napi_enumerable},
      {.utf8name = "text", .method = text, .attributes = napi_enumerable},
  };
  if (napi_define_properties(env, exports, sizeof(functions) / sizeof(*functions), functions) != napi_ok)
    return NULL;
  return exports;
}
