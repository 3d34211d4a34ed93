/*
 * Mounts, files and loop devices by descriptor, for which neither Node nor mount(8) has functions;
 * src/host/mount-api.ts wraps them. Every call runs in its own thread, since any of them may block on the
 * file system, forever if a file server does not answer. It returns a promise of a descriptor or 0, or of a
 * negative errno, as libuv does.
 *
 * ELSEWHERE: in another mount namespace; the first two arguments are descriptors of the namespace and of the
 * root directory there. A thread may enter one only if it shares its root and working directory with no other
 * thread, which cannot be undone.
 *
 * LIST: about a path of another user; the promise is of a list of numbers, as many as the function returns.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <node_api.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MAX_ARGUMENTS 8
/* Concurrent calls about paths of others: only calls to unresponsive file servers accumulate. */
#define MAX_WAITING 256
#define MAX_ATTEMPTS 1000

/* An argument: a number, or a string that the job owns. */
union value {
  int64_t number;
  char *text;
};

struct function {
  const char *name;
  /* One letter per argument: n for a number, s for a string. */
  const char *arguments;
  long (*run)(union value *given);
  /* 0: about our own files. */
  enum { ELSEWHERE = 1, LIST } kind;
};

/* A pending call. */
struct job {
  const struct function *function;
  napi_threadsafe_function done;
  napi_deferred promise;
  union value given[MAX_ARGUMENTS];
  int result;
  /* Node exits: its function must not be used any more. Guarded by `end`. */
  bool abandoned;
};

/* Held while a thread uses Node's function, and while Node withdraws it. */
static pthread_mutex_t end = PTHREAD_MUTEX_INITIALIZER;

/* open(directory, path, flags, mode): the path must not leave the directory or contain a symlink or magic
 * link. */
static long open_beneath(union value *given) {
  struct open_how how = {.flags = (uint64_t)given[2].number | O_CLOEXEC,
                         .mode = (uint64_t)given[3].number,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  long fd = -1;
  /* EAGAIN: something was mounted or renamed on the system while a ".." of the path was resolved. */
  for (int attempts = 0; attempts < MAX_ATTEMPTS && fd < 0 && (attempts == 0 || errno == EAGAIN); attempts++)
    fd = syscall(SYS_openat2, (int)given[0].number, given[1].text, &how, sizeof(how));
  return fd;
}

/* find(namespace, root, path): an O_PATH descriptor; follows symlinks. */
static long find_elsewhere(union value *given) {
  return syscall(SYS_open_tree, AT_FDCWD, given[2].text, OPEN_TREE_CLOEXEC);
}

/* mounts(namespace, root): a descriptor from which to read the mounts there (proc_pid_mountinfo(5)). */
static long list_mounts(union value *given) {
  (void)given;
  return open("/proc/thread-self/mountinfo", O_RDONLY | O_CLOEXEC);
}

/* clone(place, recursive): a detached copy of the mount at the descriptor, with those below if recursive.
 * The place must be in the mount namespace of the thread. */
static long clone_of(int64_t place, int64_t recursive) {
  unsigned flags = AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive != 0 ? AT_RECURSIVE : 0);
  return syscall(SYS_open_tree, (int)place, "", flags);
}

static long clone_mount(union value *given) {
  return clone_of(given[0].number, given[1].number);
}

/* take(namespace, root, place, recursive): the same in another namespace. */
static long clone_elsewhere(union value *given) {
  return clone_of(given[2].number, given[3].number);
}

/* create(namespace, root, directory, type, source, at, flags, options): a new, detached file system; paths
 * in the options are relative to `directory`. Uses mount(2), which accepts longer options than fsconfig(2)
 * but needs a mount point, `at`, in a private copy of the namespace. */
static long create_mount(union value *given) {
  const char *at = given[5].text;
  if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
      chdir(given[2].text) != 0 ||
      mount(given[4].text, at, given[3].text, (unsigned long)given[6].number, given[7].text) != 0)
    return -1;
  return syscall(SYS_open_tree, AT_FDCWD, at, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

/* change(mount, recursive, set, clear, propagation) */
static long change_mount(union value *given) {
  struct mount_attr change = {.attr_set = (uint64_t)given[2].number,
                              .attr_clr = (uint64_t)given[3].number,
                              .propagation = (uint64_t)given[4].number};
  unsigned flags = AT_EMPTY_PATH | (given[1].number != 0 ? AT_RECURSIVE : 0);
  return syscall(SYS_mount_setattr, (int)given[0].number, "", flags, &change, sizeof(change));
}

/* attach(mount, place): mounts it at the descriptor `place`. */
static long attach_mount(union value *given) {
  unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  return syscall(SYS_move_mount, (int)given[0].number, "", (int)given[1].number, "", flags);
}

/* detach(path, flags): umount2(2) */
static long detach_mount(union value *given) {
  return syscall(SYS_umount2, given[0].text, (int)given[1].number);
}

/* stat(place): mode, device, inode number */
static long stat_place(union value *given) {
  struct stat found;
  if (fstatat((int)given[0].number, "", &found, AT_EMPTY_PATH) != 0)
    return -1;
  given[0].number = found.st_mode;
  given[1].number = (int64_t)found.st_dev;
  given[2].number = (int64_t)found.st_ino;
  return 3;
}

/* statfs(place): the size in bytes */
static long stat_file_system(union value *given) {
  struct statfs found;
  if (fstatfs((int)given[0].number, &found) != 0)
    return -1;
  given[0].number = (int64_t)found.f_blocks * found.f_bsize;
  return 1;
}

/* detachLoop(device): 1 if no other process has the loop device open, so that it is detached at the latest
 * when this descriptor is closed; otherwise 0, and it stays attached and keeps its number while this
 * descriptor is open. For the only opener LOOP_CLR_FD detaches the file or, from Linux 6.11 on, keeps
 * others from opening it; either way the status is ENXIO. */
static long detach_loop(union value *given) {
  struct loop_info64 status;
  int device = (int)given[0].number;
  if (ioctl(device, LOOP_CLR_FD) != 0 && errno != ENXIO)
    return -1;
  if (ioctl(device, LOOP_GET_STATUS64, &status) == 0)
    return 0;
  return errno == ENXIO ? 1 : -1;
}

static const struct function functions[] = {
    {"open", "nsnn", open_beneath, 0},
    {"find", "nns", find_elsewhere, ELSEWHERE},
    {"stat", "n", stat_place, LIST},
    {"statfs", "n", stat_file_system, LIST},
    {"mounts", "nn", list_mounts, ELSEWHERE},
    {"clone", "nn", clone_mount, 0},
    {"take", "nnnn", clone_elsewhere, ELSEWHERE},
    {"create", "nnssssns", create_mount, ELSEWHERE},
    {"change", "nnnnn", change_mount, 0},
    {"attach", "nn", attach_mount, 0},
    {"detach", "sn", detach_mount, 0},
    {"detachLoop", "n", detach_loop, 0},
};

/* Pending calls about paths of others, which may block forever if a file server does not answer. Used by
 * Node's thread only. */
static int waiting;

static void free_job(struct job *job) {
  for (size_t index = 0; job->function->arguments[index] != '\0'; index++)
    if (job->function->arguments[index] == 's')
      free(job->given[index].text);
  free(job);
}

static void run(struct job *job) {
  long result = job->function->run(job->given);
  job->result = result < 0 ? -errno : (int)result;
}

static bool may_wait(const struct job *job) {
  return job->function->kind != 0;
}

static void *run_thread(void *data) {
  struct job *job = data;
  if (job->function->kind == ELSEWHERE &&
      (unshare(CLONE_FS) != 0 || setns((int)job->given[0].number, CLONE_NEWNS) != 0 ||
       fchdir((int)job->given[1].number) != 0 || chroot(".") != 0))
    job->result = -errno;
  else
    run(job);
  pthread_mutex_lock(&end);
  napi_threadsafe_function done = job->done;
  if (job->abandoned)
    free_job(job);
  /* A refused call has released the function; a release after that would be one too many. */
  else if (napi_call_threadsafe_function(done, job, napi_tsfn_nonblocking) == napi_ok)
    napi_release_threadsafe_function(done, napi_tsfn_release);
  pthread_mutex_unlock(&end);
  return NULL;
}

/* Runs at Node's exit, before Node deletes the function although a thread has not released it: the thread may
 * be blocked for good. */
static void abandon(void *data) {
  struct job *job = data;
  pthread_mutex_lock(&end);
  job->abandoned = true;
  pthread_mutex_unlock(&end);
}

static napi_value answer_of(napi_env env, const struct job *job) {
  napi_value answer = NULL, number;
  if (job->result < 0 || job->function->kind != LIST) {
    napi_create_int32(env, job->result, &answer);
    return answer;
  }
  napi_create_array(env, &answer);
  for (uint32_t index = 0; index < (uint32_t)job->result; index++)
    if (napi_create_bigint_int64(env, job->given[index].number, &number) == napi_ok)
      napi_set_element(env, answer, index, number);
  return answer;
}

/* Runs in Node's thread; without an env Node is exiting. */
static void complete(napi_env env, napi_value callback, void *context, void *data) {
  (void)callback;
  (void)context;
  struct job *job = data;
  if (env != NULL) {
    napi_remove_env_cleanup_hook(env, abandon, job);
    waiting -= may_wait(job);
    napi_resolve_deferred(env, job->promise, answer_of(env, job));
  }
  free_job(job);
}

/* Not in Node's few threads: those are for our own files, and teardown of a pod depends on them. */
static int start_thread(napi_env env, struct job *job) {
  napi_value name;
  pthread_t thread;
  sigset_t all, before;
  if (may_wait(job) && waiting >= MAX_WAITING)
    return ENOBUFS;
  if (napi_create_string_utf8(env, job->function->name, NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, NULL, complete, &job->done) !=
          napi_ok)
    return ENOMEM;
  /* Node's threads handle signals. */
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  int error = pthread_create(&thread, NULL, run_thread, job);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) {
    napi_release_threadsafe_function(job->done, napi_tsfn_abort);
    return error;
  }
  pthread_detach(thread);
  napi_add_env_cleanup_hook(env, abandon, job);
  waiting += may_wait(job);
  return 0;
}

/* Returns a copy of a string without NUL bytes, or NULL. */
static char *text_of(napi_env env, napi_value value) {
  size_t length;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok)
    return NULL;
  char *text = malloc(length + 1);
  if (text != NULL &&
      (napi_get_value_string_utf8(env, value, text, length + 1, NULL) != napi_ok || strlen(text) != length)) {
    free(text);
    text = NULL;
  }
  return text;
}

/* Reads the arguments. Returns false if they do not fit the function. */
static bool take(napi_env env, napi_callback_info info, struct job *job) {
  napi_value arguments[MAX_ARGUMENTS];
  const char *wanted = job->function->arguments;
  size_t count = MAX_ARGUMENTS;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) != napi_ok || count != strlen(wanted))
    return false;
  for (size_t index = 0; index < count; index++) {
    union value *to = &job->given[index];
    if (wanted[index] == 's' ? (to->text = text_of(env, arguments[index])) == NULL
                             : napi_get_value_int64(env, arguments[index], &to->number) != napi_ok)
      return false;
  }
  return true;
}

static napi_value start(napi_env env, napi_callback_info info) {
  void *function = NULL;
  napi_value promise;
  struct job *job = calloc(1, sizeof(*job));
  if (job == NULL || napi_get_cb_info(env, info, NULL, NULL, NULL, &function) != napi_ok) {
    free(job);
    return NULL;
  }
  job->function = function;
  if (!take(env, info, job)) {
    free_job(job);
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "mount-api: wrong arguments");
    return NULL;
  }
  if (napi_create_promise(env, &job->promise, &promise) != napi_ok) {
    free_job(job);
    napi_throw_error(env, NULL, "mount-api: Node cannot start the call");
    return NULL;
  }
  int error = start_thread(env, job);
  if (error != 0) {
    job->result = -error;
    napi_resolve_deferred(env, job->promise, answer_of(env, job));
    free_job(job);
  }
  return promise;
}

NAPI_MODULE_INIT() {
  for (size_t index = 0; index < sizeof(functions) / sizeof(functions[0]); index++) {
    const struct function *function = &functions[index];
    napi_value method;
    if (napi_create_function(env, function->name, NAPI_AUTO_LENGTH, start, (void *)function, &method) ==
        napi_ok)
      napi_set_named_property(env, exports, function->name, method);
  }
  return exports;
}
