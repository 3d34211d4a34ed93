// Mounts, namespaces, and the root and working directory of a process. mount(2), umount2(2), unshare(2),
// setns(2), chroot(2).
#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGS JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv
#define UNUSED (void)self, (void)argc

static JSValue js_mount(ARGS) {
  UNUSED;
  int64_t flags;
  if (JS_ToInt64(ctx, &flags, argv[3]))
    return JS_EXCEPTION;
  JSValue value = JS_EXCEPTION;
  const char *source = sys_string(ctx, argv[0]);
  const char *target = source ? sys_string(ctx, argv[1]) : NULL;
  const char *type = target ? sys_string(ctx, argv[2]) : NULL;
  bool has_data = !JS_IsUndefined(argv[4]);
  const char *data = type && has_data ? sys_string(ctx, argv[4]) : NULL;
  if (type && (data || !has_data))
    value = sys_done(ctx, mount(source, target, type, (unsigned long)flags, data), "mount", target);
  JS_FreeCString(ctx, source);
  JS_FreeCString(ctx, target);
  JS_FreeCString(ctx, type);
  JS_FreeCString(ctx, data);
  return value;
}

static JSValue js_umount(ARGS) {
  UNUSED;
  int flags = 0;
  if (!sys_optional_int(ctx, argv[1], &flags))
    return JS_EXCEPTION;
  const char *target = sys_string(ctx, argv[0]);
  if (!target)
    return JS_EXCEPTION;
  JSValue value = sys_done(ctx, umount2(target, flags), "umount2", target);
  JS_FreeCString(ctx, target);
  return value;
}

static JSValue js_unshare(ARGS) {
  UNUSED;
  int flags;
  if (!sys_int(ctx, argv[0], &flags))
    return JS_EXCEPTION;
  return sys_done(ctx, unshare(flags), "unshare", NULL);
}

static JSValue js_setns(ARGS) {
  UNUSED;
  int fd, flags;
  if (!sys_int(ctx, argv[0], &fd) || !sys_int(ctx, argv[1], &flags))
    return JS_EXCEPTION;
  return sys_done(ctx, setns(fd, flags), "setns", NULL);
}

static JSValue js_chdir(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int root) {
  UNUSED;
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  JSValue value = sys_done(ctx, root ? chroot(path) : chdir(path), root ? "chroot" : "chdir", path);
  JS_FreeCString(ctx, path);
  return value;
}

static JSValue js_getcwd(ARGS) {
  UNUSED;
  (void)argv;
  char path[PATH_MAX];
  return getcwd(path, sizeof(path)) ? JS_NewString(ctx, path) : sys_throw(ctx, "getcwd", NULL);
}

static JSValue js_umask(ARGS) {
  UNUSED;
  int mask;
  if (!sys_int(ctx, argv[0], &mask))
    return JS_EXCEPTION;
  return JS_NewInt32(ctx, (int)umask((mode_t)mask));
}

static JSValue js_sync(ARGS) {
  UNUSED;
  (void)ctx, (void)argv;
  sync();
  return JS_UNDEFINED;
}

static JSValue js_syncfs(ARGS) {
  UNUSED;
  int fd;
  if (!sys_int(ctx, argv[0], &fd))
    return JS_EXCEPTION;
  return sys_done(ctx, syncfs(fd), "syncfs", NULL);
}

static JSValue js_ioctl(ARGS) {
  UNUSED;
  int fd;
  int64_t request, argument;
  if (!sys_int(ctx, argv[0], &fd) || JS_ToInt64(ctx, &request, argv[1]) ||
      JS_ToInt64(ctx, &argument, argv[2]))
    return JS_EXCEPTION;
  int result = ioctl(fd, (unsigned long)request, (unsigned long)argument);
  return result < 0 ? sys_throw(ctx, "ioctl", NULL) : JS_NewInt32(ctx, result);
}

static JSValue js_inotify(ARGS) {
  UNUSED;
  int mask;
  if (!sys_int(ctx, argv[1], &mask))
    return JS_EXCEPTION;
  const char *path = sys_string(ctx, argv[0]);
  if (!path)
    return JS_EXCEPTION;
  JSValue value;
  int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0) {
    value = sys_throw(ctx, "inotify_init1", path);
  } else if (inotify_add_watch(fd, path, (uint32_t)mask) < 0) {
    value = sys_throw(ctx, "inotify_add_watch", path);
    close(fd);
  } else {
    value = JS_NewInt32(ctx, fd);
  }
  JS_FreeCString(ctx, path);
  return value;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("mount", 5, js_mount),
    JS_CFUNC_DEF("umount", 2, js_umount),
    JS_CFUNC_DEF("unshare", 1, js_unshare),
    JS_CFUNC_DEF("setns", 2, js_setns),
    JS_CFUNC_MAGIC_DEF("chdir", 1, js_chdir, 0),
    JS_CFUNC_MAGIC_DEF("chroot", 1, js_chdir, 1),
    JS_CFUNC_DEF("getcwd", 0, js_getcwd),
    JS_CFUNC_DEF("umask", 1, js_umask),
    JS_CFUNC_DEF("sync", 0, js_sync),
    JS_CFUNC_DEF("syncfs", 1, js_syncfs),
    JS_CFUNC_DEF("ioctl", 3, js_ioctl),
    JS_CFUNC_DEF("inotify", 2, js_inotify),
    SYS_CONST(MS_RDONLY),
    SYS_CONST(MS_NOSUID),
    SYS_CONST(MS_NODEV),
    SYS_CONST(MS_NOEXEC),
    SYS_CONST(MS_REMOUNT),
    SYS_CONST(MS_BIND),
    SYS_CONST(MS_MOVE),
    SYS_CONST(MS_REC),
    SYS_CONST(MS_PRIVATE),
    SYS_CONST(MS_SLAVE),
    SYS_CONST(MS_SHARED),
    SYS_CONST(MS_NOATIME),
    SYS_CONST(MNT_DETACH),
    SYS_CONST(UMOUNT_NOFOLLOW),
    SYS_CONST(CLONE_NEWNS),
    SYS_CONST(CLONE_NEWPID),
    SYS_CONST(CLONE_NEWNET),
    SYS_CONST(CLONE_NEWIPC),
    SYS_CONST(CLONE_NEWUTS),
    SYS_CONST(IN_MODIFY),
    SYS_CONST(IN_CREATE),
};
SYS_TABLE(sys_mounts_table, functions);
