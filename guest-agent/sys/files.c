// Files and directories: open(2), read(2), write(2), mkdir(2), unlink(2), rename(2), stat(2), mknod(2), ...
#include "sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define ARGS JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv
#define UNUSED (void)self, (void)argc

static JSValue js_open(ARGS) {
  UNUSED;
  int flags, mode = 0600;
  if (!sys_int(ctx, argv[1], &flags) || !sys_optional_int(ctx, argv[2], &mode))
    return JS_EXCEPTION;
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  int fd = open(path, flags | O_CLOEXEC, mode);
  JSValue result = fd < 0 ? sys_throw(ctx, "open", path) : JS_NewInt32(ctx, fd);
  JS_FreeCString(ctx, path);
  return result;
}

static JSValue js_close(ARGS) {
  UNUSED;
  int fd;
  if (!sys_int(ctx, argv[0], &fd))
    return JS_EXCEPTION;
  // The number may be reused for another file: a watch must not outlive its descriptor.
  sys_unwatch_script(fd);
  return sys_done(ctx, close(fd), "close", NULL);
}

static JSValue js_read(ARGS) {
  UNUSED;
  int fd;
  uint8_t *bytes;
  size_t size;
  if (!sys_int(ctx, argv[0], &fd) || !sys_slice(ctx, argv[1], argv[2], argv[3], &bytes, &size))
    return JS_EXCEPTION;
  return sys_count(ctx, read(fd, bytes, size), "read", NULL);
}

static JSValue js_write(ARGS) {
  UNUSED;
  int fd;
  uint8_t *bytes;
  size_t size;
  if (!sys_int(ctx, argv[0], &fd) || !sys_slice(ctx, argv[1], argv[2], argv[3], &bytes, &size))
    return JS_EXCEPTION;
  return sys_count(ctx, write(fd, bytes, size), "write", NULL);
}

// Reads to end of file into a malloc'ed buffer. Returns 0 or errno.
static int read_all(int fd, size_t limit, uint8_t **out, size_t *length) {
  // Does not use st_size, which is 0 for files of procfs and cgroupfs.
  size_t capacity = 4096, used = 0;
  uint8_t *bytes = malloc(capacity);
  while (bytes) {
    ssize_t count = read(fd, bytes + used, capacity - used);
    if (count < 0) {
      int error = errno;
      free(bytes);
      return error;
    }
    used += (size_t)count;
    if (used > limit) {
      free(bytes);
      return EFBIG;
    }
    if (!count) {
      *out = bytes;
      *length = used;
      return 0;
    }
    if (used == capacity) {
      uint8_t *grown = realloc(bytes, capacity *= 2);
      if (!grown)
        free(bytes);
      bytes = grown;
    }
  }
  return ENOMEM;
}

static JSValue js_read_file(ARGS) {
  UNUSED;
  int64_t limit = 1 << 20;
  if (!JS_IsUndefined(argv[1]) && JS_ToInt64(ctx, &limit, argv[1]))
    return JS_EXCEPTION;
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  JSValue result;
  uint8_t *bytes = NULL;
  size_t length = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    result = sys_throw(ctx, "open", path);
  } else {
    int error = read_all(fd, limit < 0 ? 0 : (size_t)limit, &bytes, &length);
    close(fd);
    if (error) {
      result = sys_throw_errno(ctx, error, "read", path);
    } else {
      result = JS_NewUint8ArrayCopy(ctx, bytes, length);
      free(bytes);
    }
  }
  JS_FreeCString(ctx, path);
  return result;
}

static JSValue js_write_file(ARGS) {
  UNUSED;
  int flags = O_WRONLY | O_CREAT | O_TRUNC, mode = 0600;
  if (!sys_optional_int(ctx, argv[2], &flags) || !sys_optional_int(ctx, argv[3], &mode))
    return JS_EXCEPTION;
  const char *text = NULL;
  uint8_t *bytes;
  size_t length;
  if (JS_IsString(argv[1]))
    bytes = (uint8_t *)(text = JS_ToCStringLen(ctx, &length, argv[1]));
  else
    bytes = JS_GetUint8Array(ctx, &length, argv[1]);
  if (!bytes && (text || length || JS_HasException(ctx)))
    return JS_EXCEPTION;
  const char *path = sys_string(ctx, argv[0]);
  JSValue result = JS_EXCEPTION;
  if (path) {
    int fd = open(path, flags | O_CLOEXEC, mode);
    if (fd < 0) {
      result = sys_throw(ctx, "open", path);
    } else {
      ssize_t count = write(fd, bytes, length);
      int error = count < 0 ? errno : (size_t)count < length ? ENOSPC : 0;
      // close(2) may report an error of the write (EIO, EDQUOT on network file systems).
      if (close(fd) && !error)
        error = errno;
      result = error ? sys_throw_errno(ctx, error, "write", path) : JS_UNDEFINED;
    }
  }
  JS_FreeCString(ctx, path);
  JS_FreeCString(ctx, text);
  return result;
}

// Functions with a path and, some, a mode.
enum { MKDIR, MKDIRP, MKFIFO, CHMOD, UNLINK, RMDIR, PATH_CALLS };

static int mkdirp(const char *path, mode_t mode) {
  char copy[PATH_MAX];
  size_t length = strlen(path);
  if (length >= sizeof(copy)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(copy, path, length + 1);
  for (char *slash = copy; (slash = strchr(slash + 1, '/'));) {
    *slash = 0;
    if (mkdir(copy, mode) && errno != EEXIST)
      return -1;
    *slash = '/';
  }
  struct stat info;
  if (mkdir(copy, mode) == 0)
    return 0;
  if (errno != EEXIST || stat(copy, &info))
    return -1;
  errno = EEXIST;
  return S_ISDIR(info.st_mode) ? 0 : -1;
}

static JSValue js_path_call(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int call) {
  UNUSED;
  static const char *const names[PATH_CALLS] = {"mkdir", "mkdir", "mkfifo", "chmod", "unlink", "rmdir"};
  int mode = 0755;
  if (call < UNLINK && !sys_optional_int(ctx, argv[1], &mode))
    return JS_EXCEPTION;
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  int result = -1;
  switch (call) {
  case MKDIR:
    result = mkdir(path, mode);
    break;
  case MKDIRP:
    result = mkdirp(path, mode);
    break;
  case MKFIFO:
    result = mkfifo(path, mode);
    break;
  case CHMOD:
    result = chmod(path, mode);
    break;
  case UNLINK:
    result = unlink(path);
    break;
  case RMDIR:
    result = rmdir(path);
    break;
  }
  JSValue value = sys_done(ctx, result, names[call], path);
  JS_FreeCString(ctx, path);
  return value;
}

enum { RENAME, SYMLINK };

static JSValue js_two_paths(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int call) {
  UNUSED;
  const char *first = sys_string(ctx, argv[0]);
  const char *second = first ? sys_string(ctx, argv[1]) : NULL;
  JSValue value = JS_EXCEPTION;
  if (second)
    value = call == RENAME ? sys_done(ctx, rename(first, second), "rename", first)
                           : sys_done(ctx, symlink(first, second), "symlink", second);
  JS_FreeCString(ctx, first);
  JS_FreeCString(ctx, second);
  return value;
}

static JSValue js_readlink(ARGS) {
  UNUSED;
  char target[PATH_MAX];
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  ssize_t length = readlink(path, target, sizeof(target));
  JSValue value =
      length < 0 ? sys_throw(ctx, "readlink", path) : JS_NewStringLen(ctx, target, (size_t)length);
  JS_FreeCString(ctx, path);
  return value;
}

static JSValue js_readdir(ARGS) {
  UNUSED;
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  DIR *directory = opendir(path);
  if (!directory) {
    JSValue value = sys_throw(ctx, "opendir", path);
    JS_FreeCString(ctx, path);
    return value;
  }
  JSValue names = JS_NewArray(ctx);
  uint32_t count = 0;
  struct dirent *entry;
  while (errno = 0, (entry = readdir(directory)))
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
      JS_SetPropertyUint32(ctx, names, count++, JS_NewString(ctx, entry->d_name));
  int error = errno;
  closedir(directory);
  if (error) {
    JS_FreeValue(ctx, names);
    names = sys_throw_errno(ctx, error, "readdir", path);
  }
  JS_FreeCString(ctx, path);
  return names;
}

static JSValue js_stat(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int follow) {
  UNUSED;
  struct stat info;
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  JSValue value;
  if (fstatat(AT_FDCWD, path, &info, follow ? 0 : AT_SYMLINK_NOFOLLOW)) {
    value = sys_throw(ctx, follow ? "stat" : "lstat", path);
  } else {
    value = JS_NewObject(ctx);
    JS_SetPropertyStr(ctx, value, "mode", JS_NewInt64(ctx, info.st_mode));
    JS_SetPropertyStr(ctx, value, "uid", JS_NewInt64(ctx, info.st_uid));
    JS_SetPropertyStr(ctx, value, "gid", JS_NewInt64(ctx, info.st_gid));
    JS_SetPropertyStr(ctx, value, "size", JS_NewInt64(ctx, info.st_size));
    JS_SetPropertyStr(ctx, value, "dev", JS_NewInt64(ctx, (int64_t)info.st_dev));
    JS_SetPropertyStr(ctx, value, "ino", JS_NewInt64(ctx, (int64_t)info.st_ino));
    JS_SetPropertyStr(ctx, value, "rdev", JS_NewInt64(ctx, (int64_t)info.st_rdev));
    double mtime = (double)info.st_mtim.tv_sec * 1e3 + (double)info.st_mtim.tv_nsec / 1e6;
    JS_SetPropertyStr(ctx, value, "mtimeMs", JS_NewFloat64(ctx, mtime));
  }
  JS_FreeCString(ctx, path);
  return value;
}

static JSValue js_chown(ARGS) {
  UNUSED;
  int uid, gid;
  if (!sys_int(ctx, argv[1], &uid) || !sys_int(ctx, argv[2], &gid))
    return JS_EXCEPTION;
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  JSValue value = sys_done(ctx, chown(path, (uid_t)uid, (gid_t)gid), "chown", path);
  JS_FreeCString(ctx, path);
  return value;
}

static JSValue js_mknod(ARGS) {
  UNUSED;
  int mode, major_number, minor_number;
  if (!sys_int(ctx, argv[1], &mode) || !sys_int(ctx, argv[2], &major_number) ||
      !sys_int(ctx, argv[3], &minor_number))
    return JS_EXCEPTION;
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  dev_t device = makedev((unsigned)major_number, (unsigned)minor_number);
  JSValue value = sys_done(ctx, mknod(path, (mode_t)mode, device), "mknod", path);
  JS_FreeCString(ctx, path);
  return value;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("open", 3, js_open),
    JS_CFUNC_DEF("close", 1, js_close),
    JS_CFUNC_DEF("read", 4, js_read),
    JS_CFUNC_DEF("write", 4, js_write),
    JS_CFUNC_DEF("readFile", 2, js_read_file),
    JS_CFUNC_DEF("writeFile", 4, js_write_file),
    JS_CFUNC_MAGIC_DEF("mkdir", 2, js_path_call, MKDIR),
    JS_CFUNC_MAGIC_DEF("mkdirp", 2, js_path_call, MKDIRP),
    JS_CFUNC_MAGIC_DEF("mkfifo", 2, js_path_call, MKFIFO),
    JS_CFUNC_MAGIC_DEF("chmod", 2, js_path_call, CHMOD),
    JS_CFUNC_MAGIC_DEF("unlink", 1, js_path_call, UNLINK),
    JS_CFUNC_MAGIC_DEF("rmdir", 1, js_path_call, RMDIR),
    JS_CFUNC_MAGIC_DEF("rename", 2, js_two_paths, RENAME),
    JS_CFUNC_MAGIC_DEF("symlink", 2, js_two_paths, SYMLINK),
    JS_CFUNC_DEF("readlink", 1, js_readlink),
    JS_CFUNC_DEF("readdir", 1, js_readdir),
    JS_CFUNC_MAGIC_DEF("stat", 1, js_stat, 1),
    JS_CFUNC_MAGIC_DEF("lstat", 1, js_stat, 0),
    JS_CFUNC_DEF("chown", 3, js_chown),
    JS_CFUNC_DEF("mknod", 4, js_mknod),
    SYS_CONST(O_RDONLY),
    SYS_CONST(O_WRONLY),
    SYS_CONST(O_RDWR),
    SYS_CONST(O_CREAT),
    SYS_CONST(O_EXCL),
    SYS_CONST(O_TRUNC),
    SYS_CONST(O_APPEND),
    SYS_CONST(O_NONBLOCK),
    SYS_CONST(O_DIRECTORY),
    SYS_CONST(O_NOFOLLOW),
    SYS_CONST(O_PATH),
};
SYS_TABLE(sys_files_table, functions);
