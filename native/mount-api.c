/*
 * Mounts and files by descriptor, which neither Node nor mount(8) can do: src/host/mount-api.ts makes methods
 * of it. Every function runs on another thread, since file systems may make any of these calls wait, and
 * answers a promise of a descriptor or 0, or of a negative error number, as libuv does.
 *
 * Some run in another mount namespace: their first two arguments are its descriptor and that of the root
 * directory there. A thread may only enter one when it shares its root and its working directory with no
 * other, which it cannot take back: each call has a thread of its own, which ends with it. What they look at
 * may be on a server that never answers: Node's few threads, which all others run on, must not wait for it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <node_api.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_ARGUMENTS 8
/* Calls in other namespaces at a time: so many do not wait unless what they wait for is gone. */
#define MAX_ELSEWHERE 256
#define MAX_TRIES 1000

/* An argument: a number, or a text that the job owns. */
union value {
  int64_t number;
  char *text;
};

struct function {
  const char *name;
  /* A letter an argument: n for a number, s for a text. */
  const char *arguments;
  long (*run)(const union value *given);
  /* In the mount namespace that its first two arguments are. */
  bool elsewhere;
};

/* A call under way: work of the pool's, or a thread that tells its end. */
struct job {
  const struct function *function;
  napi_async_work work;
  napi_threadsafe_function told;
  napi_deferred promise;
  union value given[MAX_ARGUMENTS];
  int result;
};

/* open(directory, path, flags, mode): no step of the path leaves the directory or is a link of any kind. */
static long open_beneath(const union value *given) {
  struct open_how how = {.flags = (uint64_t)given[2].number | O_CLOEXEC,
                         .mode = (uint64_t)given[3].number,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  long fd = -1;
  /* EAGAIN: something was mounted or renamed anywhere while a ".." of the path was looked at. */
  for (int tries = 0; tries < MAX_TRIES && fd < 0 && (tries == 0 || errno == EAGAIN); tries++)
    fd = syscall(SYS_openat2, (int)given[0].number, given[1].text, &how, sizeof(how));
  return fd;
}

/* find(namespace, root, path): a descriptor of what is there, to do something at; links are followed. */
static long find_elsewhere(const union value *given) {
  return syscall(SYS_open_tree, AT_FDCWD, given[2].text, OPEN_TREE_CLOEXEC);
}

/* mounts(namespace, root): the list of what is mounted there, to be read, see proc_pid_mountinfo(5). */
static long list_mounts(const union value *given) {
  (void)given;
  return open("/proc/thread-self/mountinfo", O_RDONLY | O_CLOEXEC);
}

/* clone(place, recursive): a copy of what is mounted where the descriptor is, and below it if recursive, that
 * is mounted nowhere yet. The place must be in the mount namespace of the thread. */
static long clone_of(int64_t place, int64_t recursive) {
  unsigned flags = AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive != 0 ? AT_RECURSIVE : 0);
  return syscall(SYS_open_tree, (int)place, "", flags);
}

static long clone_mount(const union value *given) {
  return clone_of(given[0].number, given[1].number);
}

/* take(namespace, root, place, recursive): the same of a place there. */
static long clone_elsewhere(const union value *given) {
  return clone_of(given[2].number, given[3].number);
}

/* create(namespace, root, folder, type, source, at, flags, options): a file system that is mounted nowhere
 * yet; `folder` is what relative paths in the options are relative to. mount(2) takes longer options than
 * fsconfig(2), and needs a place, `at`: in a copy of the namespace that nobody else sees. */
static long create_mount(const union value *given) {
  const char *at = given[5].text;
  if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
      chdir(given[2].text) != 0 ||
      mount(given[4].text, at, given[3].text, (unsigned long)given[6].number, given[7].text) != 0)
    return -1;
  return syscall(SYS_open_tree, AT_FDCWD, at, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

/* change(mount, recursive, set, clear, propagation) */
static long change_mount(const union value *given) {
  struct mount_attr change = {.attr_set = (uint64_t)given[2].number,
                              .attr_clr = (uint64_t)given[3].number,
                              .propagation = (uint64_t)given[4].number};
  unsigned flags = AT_EMPTY_PATH | (given[1].number != 0 ? AT_RECURSIVE : 0);
  return syscall(SYS_mount_setattr, (int)given[0].number, "", flags, &change, sizeof(change));
}

/* attach(mount, place): where the descriptor `place` is. */
static long attach_mount(const union value *given) {
  unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  return syscall(SYS_move_mount, (int)given[0].number, "", (int)given[1].number, "", flags);
}

/* detach(path, flags): umount2(2) */
static long detach_mount(const union value *given) {
  return syscall(SYS_umount2, given[0].text, (int)given[1].number);
}

static const struct function functions[] = {
    {"open", "nsnn", open_beneath, false},    {"find", "nns", find_elsewhere, true},
    {"mounts", "nn", list_mounts, true},      {"clone", "nn", clone_mount, false},
    {"take", "nnnn", clone_elsewhere, true},  {"create", "nnssssns", create_mount, true},
    {"change", "nnnnn", change_mount, false}, {"attach", "nn", attach_mount, false},
    {"detach", "sn", detach_mount, false},
};

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

static void *run_elsewhere(void *data) {
  struct job *job = data;
  napi_threadsafe_function told = job->told;
  if (unshare(CLONE_FS) != 0 || setns((int)job->given[0].number, CLONE_NEWNS) != 0 ||
      fchdir((int)job->given[1].number) != 0 || chroot(".") != 0)
    job->result = -errno;
  else
    run(job);
  /* It fails when Node is ending: then nobody frees the job. */
  napi_call_threadsafe_function(told, job, napi_tsfn_blocking);
  napi_release_threadsafe_function(told, napi_tsfn_release);
  return NULL;
}

static void execute(napi_env env, void *data) {
  (void)env;
  run(data);
}

static void settle(napi_env env, struct job *job) {
  napi_value result;
  if (napi_create_int32(env, job->result, &result) == napi_ok)
    napi_resolve_deferred(env, job->promise, result);
  free_job(job);
}

static void complete(napi_env env, napi_status status, void *data) {
  struct job *job = data;
  if (status != napi_ok)
    job->result = -ECANCELED;
  napi_delete_async_work(env, job->work);
  settle(env, job);
}

/* Only Node's own thread counts. */
static unsigned elsewhere;

static void completed_elsewhere(napi_env env, napi_value callback, void *context, void *data) {
  (void)callback;
  (void)context;
  elsewhere--;
  if (env != NULL)
    settle(env, data);
}

/* False when there is no such thread; then nothing has been begun. */
static bool start_elsewhere(napi_env env, napi_value name, struct job *job) {
  pthread_t thread;
  if (elsewhere >= MAX_ELSEWHERE ||
      napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, NULL, completed_elsewhere,
                                      &job->told) != napi_ok)
    return false;
  /* Signals are for Node's threads. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  int error = pthread_create(&thread, NULL, run_elsewhere, job);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) {
    napi_release_threadsafe_function(job->told, napi_tsfn_abort);
    return false;
  }
  pthread_detach(thread);
  elsewhere++;
  return true;
}

static bool start_in_pool(napi_env env, napi_value name, struct job *job) {
  if (napi_create_async_work(env, NULL, name, execute, complete, job, &job->work) != napi_ok)
    return false;
  if (napi_queue_async_work(env, job->work) == napi_ok)
    return true;
  napi_delete_async_work(env, job->work);
  return false;
}

/* A text without a NUL in it, or NULL. */
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

/* False when the arguments are not what the function takes. */
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
  napi_value name, promise;
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
  if (napi_create_string_utf8(env, job->function->name, NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_promise(env, &job->promise, &promise) != napi_ok) {
    free_job(job);
    napi_throw_error(env, NULL, "mount-api: Node cannot start the call");
    return NULL;
  }
  if (!(job->function->elsewhere ? start_elsewhere : start_in_pool)(env, name, job)) {
    job->result = -EAGAIN;
    settle(env, job);
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
