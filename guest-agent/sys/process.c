// Processes: spawn, exec, wait. clone(2), clone3(2), execve(2), waitpid(2), pidfd_open(2), prctl(2),
// setrlimit(2).
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/close_range.h>
#include <linux/sched.h>

#define ARGS JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv
#define UNUSED (void)self, (void)argc

extern char **environ;
static int argument_count;
static char **arguments;

void sys_process_arguments(int argc, char **argv) {
  argument_count = argc;
  arguments = argv;
}

// --- spawn

// Everything the child needs, prepared by the parent: the child shares its memory and may only make system
// calls.
typedef struct Spawn {
  char **argv, **env;
  const char *program, *cwd;
  int *fds;
  int fd_count;
  bool setsid;
  int death_signal;
  pid_t parent;
  int report;
} Spawn;

// RLIMIT_NOFILE as this process was started with, which children get.
static struct rlimit file_limit;
static bool file_limit_raised;

// What the child writes to the report pipe if it fails; execve closes the pipe, which reports success.
typedef struct Report {
  int error;
  enum { DEATH_SIGNAL, SESSION, DIRECTORY, DESCRIPTORS, LIMIT, EXEC } step;
} Report;

static const char *const step_names[] = {
    "prctl PR_SET_PDEATHSIG", "setsid", "chdir", "dup2", "setrlimit", "execve"};

// The address sanitizer does not know the clone stack.
#define CHILD_CODE __attribute__((no_sanitize("address")))

CHILD_CODE static _Noreturn void fail_child(Spawn *spawn, int step) {
  Report report = {errno, step};
  ssize_t ignored = write(spawn->report, &report, sizeof(report));
  (void)ignored;
  _exit(127);
}

CHILD_CODE static void place_descriptors(Spawn *spawn) {
  // First move them out of each other's way, then into place (dup2 clears close-on-exec).
  for (int i = 0; i < spawn->fd_count; i++)
    if ((spawn->fds[i] = fcntl(spawn->fds[i], F_DUPFD_CLOEXEC, spawn->fd_count)) < 0)
      fail_child(spawn, DESCRIPTORS);
  int report = fcntl(spawn->report, F_DUPFD_CLOEXEC, spawn->fd_count);
  if (report < 0)
    fail_child(spawn, DESCRIPTORS);
  spawn->report = report;
  for (int i = 0; i < spawn->fd_count; i++)
    if (dup2(spawn->fds[i], i) < 0)
      fail_child(spawn, DESCRIPTORS);
  // Descriptors that this process has inherited may lack close-on-exec.
  syscall(SYS_close_range, spawn->fd_count, ~0U, CLOSE_RANGE_CLOEXEC);
}

CHILD_CODE static int run_child(void *argument) {
  Spawn *spawn = argument;
  // Ignored signals stay ignored across execve; the program must start with the defaults.
  struct sigaction standard = {.sa_handler = SIG_DFL};
  for (int number = 1; number < _NSIG; number++)
    sigaction(number, &standard, NULL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (spawn->setsid && setsid() < 0)
    fail_child(spawn, SESSION);
  if (spawn->death_signal) {
    if (prctl(PR_SET_PDEATHSIG, spawn->death_signal))
      fail_child(spawn, DEATH_SIGNAL);
    // The parent may have died before prctl.
    if (getppid() != spawn->parent)
      _exit(127);
  }
  place_descriptors(spawn);
  if (spawn->cwd && chdir(spawn->cwd))
    fail_child(spawn, DIRECTORY);
  if (file_limit_raised && setrlimit(RLIMIT_NOFILE, &file_limit))
    fail_child(spawn, LIMIT);
  execve(spawn->program, spawn->argv, spawn->env);
  fail_child(spawn, EXEC);
}

// Finds the program as execvp(3) does, but in the PATH of the child's environment. Returns 0 or errno.
static int find_program(const char *name, char **env, char out[PATH_MAX]) {
  if (strchr(name, '/'))
    return snprintf(out, PATH_MAX, "%s", name) < PATH_MAX ? 0 : ENAMETOOLONG;
  const char *path = "/usr/sbin:/usr/bin:/sbin:/bin";
  for (char **item = env; *item; item++)
    if (!strncmp(*item, "PATH=", 5))
      path = *item + 5;
  int error = ENOENT;
  for (const char *end; *path; path = *end ? end + 1 : end) {
    struct stat info;
    end = strchrnul(path, ':');
    int length = snprintf(out, PATH_MAX, "%.*s/%s", (int)(end - path), path, name);
    if (length >= PATH_MAX || stat(out, &info) || !S_ISREG(info.st_mode))
      continue;
    if (access(out, X_OK) == 0)
      return 0;
    error = EACCES;
  }
  return error;
}

static pid_t clone_child(Spawn *spawn, int cgroup) {
  static _Alignas(16) char stack[64 * 1024];
  if (cgroup < 0)
    // Does not copy the page tables; this process waits until the child has called execve.
    return clone(run_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, spawn);
  struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)cgroup};
  pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
  if (pid == 0)
    _exit(run_child(spawn));
  return pid;
}

// Starts the child. Returns its PID or an exception.
static JSValue start(JSContext *ctx, Spawn *spawn, const char *cgroup) {
  int pipe_ends[2], cgroup_fd = -1;
  if (cgroup && (cgroup_fd = open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
    return sys_throw(ctx, "spawn: open cgroup", cgroup);
  if (pipe2(pipe_ends, O_CLOEXEC)) {
    JSValue thrown = sys_throw(ctx, "spawn: pipe2", NULL);
    if (cgroup_fd >= 0)
      close(cgroup_fd);
    return thrown;
  }
  spawn->report = pipe_ends[1];
  spawn->parent = getpid();
  pid_t pid = clone_child(spawn, cgroup_fd);
  int error = errno;
  close(pipe_ends[1]);
  if (cgroup_fd >= 0)
    close(cgroup_fd);
  Report report;
  ssize_t got = -1;
  if (pid > 0) {
    while ((got = read(pipe_ends[0], &report, sizeof(report))) < 0 && errno == EINTR)
      continue;
    if (got > 0)
      waitpid(pid, NULL, 0);
  }
  close(pipe_ends[0]);
  if (pid < 0)
    return sys_throw_errno(ctx, error, "spawn: clone", spawn->program);
  if (got <= 0)
    return JS_NewInt32(ctx, pid);
  char call[64];
  snprintf(call, sizeof(call), "spawn: %s", step_names[report.step]);
  const char *subject = report.step == DIRECTORY ? spawn->cwd : spawn->program;
  return sys_throw_errno(ctx, report.error, call, subject);
}

// Reads `fds`; -1 becomes `null_fd`. The caller frees the array.
static bool read_descriptors(JSContext *ctx, JSValueConst list, int null_fd, Spawn *spawn) {
  int64_t length = 3;
  if (!JS_IsUndefined(list) && JS_GetLength(ctx, list, &length))
    return false;
  if (length < 0 || length > 64) {
    JS_ThrowRangeError(ctx, "spawn: more than 64 descriptors");
    return false;
  }
  spawn->fds = calloc((size_t)length + 1, sizeof(int));
  if (!spawn->fds) {
    JS_ThrowOutOfMemory(ctx);
    return false;
  }
  spawn->fd_count = (int)length;
  for (int i = 0; i < spawn->fd_count; i++) {
    int fd = -1;
    if (!JS_IsUndefined(list)) {
      JSValue item = JS_GetPropertyUint32(ctx, list, (uint32_t)i);
      bool good = !JS_IsException(item) && sys_int(ctx, item, &fd);
      JS_FreeValue(ctx, item);
      if (!good)
        return false;
    }
    spawn->fds[i] = fd < 0 ? null_fd : fd;
  }
  return true;
}

// A field of the options, or NULL if it is absent. Sets *failed if an exception is pending.
static const char *text_field(JSContext *ctx, JSValueConst options, const char *name, bool *failed) {
  JSValue value = JS_GetPropertyStr(ctx, options, name);
  const char *text = JS_IsUndefined(value) ? NULL : sys_string(ctx, value);
  *failed = *failed || JS_IsException(value) || (!text && !JS_IsUndefined(value));
  JS_FreeValue(ctx, value);
  return text;
}

static char **list_field(JSContext *ctx, JSValueConst options, const char *name, bool *failed) {
  JSValue value = JS_GetPropertyStr(ctx, options, name);
  char **list = JS_IsUndefined(value) ? NULL : sys_strings(ctx, value);
  *failed = *failed || JS_IsException(value) || (!list && !JS_IsUndefined(value));
  JS_FreeValue(ctx, value);
  return list;
}

static JSValue js_spawn(ARGS) {
  UNUSED;
  static char *no_environment[] = {NULL};
  char program[PATH_MAX];
  JSValueConst options = argv[0];
  JSValue result = JS_EXCEPTION;
  bool failed = false;
  Spawn spawn = {.program = program};
  char **env = NULL;
  const char *cgroup = NULL;
  int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_fd < 0)
    return sys_throw(ctx, "open", "/dev/null");

  spawn.argv = list_field(ctx, options, "argv", &failed);
  if (!failed)
    env = list_field(ctx, options, "env", &failed);
  if (!failed)
    spawn.cwd = text_field(ctx, options, "cwd", &failed);
  if (!failed)
    cgroup = text_field(ctx, options, "cgroup", &failed);
  spawn.env = env ? env : no_environment;
  if (!failed) {
    JSValue setsid_value = JS_GetPropertyStr(ctx, options, "setsid");
    JSValue signal_value = JS_GetPropertyStr(ctx, options, "deathSignal");
    JSValue fds = JS_GetPropertyStr(ctx, options, "fds");
    spawn.setsid = JS_ToBool(ctx, setsid_value) > 0;
    failed = !sys_optional_int(ctx, signal_value, &spawn.death_signal) ||
             !read_descriptors(ctx, fds, null_fd, &spawn);
    JS_FreeValue(ctx, setsid_value);
    JS_FreeValue(ctx, signal_value);
    JS_FreeValue(ctx, fds);
  }
  if (!failed) {
    int error = !spawn.argv || !spawn.argv[0] ? EINVAL : find_program(spawn.argv[0], spawn.env, program);
    result = error
                 ? sys_throw_errno(ctx, error, "spawn", spawn.argv && spawn.argv[0] ? spawn.argv[0] : "argv")
                 : start(ctx, &spawn, cgroup);
  }
  close(null_fd);
  JS_FreeCString(ctx, spawn.cwd);
  JS_FreeCString(ctx, cgroup);
  sys_free_strings(spawn.argv);
  sys_free_strings(env);
  free(spawn.fds);
  return result;
}

static JSValue js_exec(ARGS) {
  UNUSED;
  char program[PATH_MAX];
  char **args = sys_strings(ctx, argv[0]);
  if (!args)
    return JS_EXCEPTION;
  char **env = JS_IsUndefined(argv[1]) ? NULL : sys_strings(ctx, argv[1]);
  if (!env && !JS_IsUndefined(argv[1])) {
    sys_free_strings(args);
    return JS_EXCEPTION;
  }
  int error = args[0] ? find_program(args[0], env ? env : environ, program) : EINVAL;
  if (!error) {
    sigset_t none, before;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, &before);
    signal(SIGPIPE, SIG_DFL);
    execve(program, args, env ? env : environ);
    error = errno;
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &before, NULL);
  }
  JSValue thrown = sys_throw_errno(ctx, error, "execve", args[0]);
  sys_free_strings(args);
  sys_free_strings(env);
  return thrown;
}

// --- other functions

static JSValue js_waitpid(ARGS) {
  UNUSED;
  int pid, status;
  if (!sys_int(ctx, argv[0], &pid))
    return JS_EXCEPTION;
  pid_t ended = waitpid(pid, &status, WNOHANG);
  if (ended < 0 && errno != ECHILD)
    return sys_throw(ctx, "waitpid", NULL);
  if (ended <= 0)
    return JS_NULL;
  JSValue value = JS_NewObject(ctx);
  JS_SetPropertyStr(ctx, value, "pid", JS_NewInt32(ctx, ended));
  JS_SetPropertyStr(ctx, value, "code", JS_NewInt32(ctx, WIFEXITED(status) ? WEXITSTATUS(status) : 0));
  JS_SetPropertyStr(ctx, value, "signal", JS_NewInt32(ctx, WIFSIGNALED(status) ? WTERMSIG(status) : 0));
  return value;
}

static JSValue js_kill(ARGS) {
  UNUSED;
  int pid, number;
  if (!sys_int(ctx, argv[0], &pid) || !sys_int(ctx, argv[1], &number))
    return JS_EXCEPTION;
  return sys_done(ctx, kill(pid, number), "kill", NULL);
}

static JSValue js_pidfd_open(ARGS) {
  UNUSED;
  int pid;
  if (!sys_int(ctx, argv[0], &pid))
    return JS_EXCEPTION;
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  return fd < 0 ? sys_throw(ctx, "pidfd_open", NULL) : JS_NewInt32(ctx, fd);
}

static JSValue js_raise_file_limit(ARGS) {
  UNUSED;
  int limit;
  if (!sys_int(ctx, argv[0], &limit))
    return JS_EXCEPTION;
  struct rlimit present, wanted = {(rlim_t)limit, (rlim_t)limit};
  if (getrlimit(RLIMIT_NOFILE, &present) || setrlimit(RLIMIT_NOFILE, &wanted))
    return sys_throw(ctx, "setrlimit", "RLIMIT_NOFILE");
  if (!file_limit_raised)
    file_limit = present;
  file_limit_raised = true;
  return JS_UNDEFINED;
}

static JSValue js_getpid(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int parent) {
  UNUSED;
  (void)argv;
  return JS_NewInt32(ctx, parent ? getppid() : getpid());
}

static JSValue js_exit(ARGS) {
  UNUSED;
  int code;
  if (!sys_int(ctx, argv[0], &code))
    return JS_EXCEPTION;
  exit(code);
}

static JSValue js_getenv(ARGS) {
  UNUSED;
  const char *name = sys_string(ctx, argv[0]);
  if (!name)
    return JS_EXCEPTION;
  const char *value = getenv(name);
  JS_FreeCString(ctx, name);
  return value ? JS_NewString(ctx, value) : JS_UNDEFINED;
}

static JSValue js_environ(ARGS) {
  UNUSED;
  (void)argv;
  JSValue list = JS_NewArray(ctx);
  for (uint32_t i = 0; environ[i]; i++)
    JS_SetPropertyUint32(ctx, list, i, JS_NewString(ctx, environ[i]));
  return list;
}

static JSValue js_argv(ARGS) {
  UNUSED;
  (void)argv;
  JSValue list = JS_NewArray(ctx);
  for (int i = 0; i < argument_count; i++)
    JS_SetPropertyUint32(ctx, list, (uint32_t)i, JS_NewString(ctx, arguments[i]));
  return list;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("spawn", 1, js_spawn),
    JS_CFUNC_DEF("exec", 2, js_exec),
    JS_CFUNC_DEF("waitpid", 1, js_waitpid),
    JS_CFUNC_DEF("kill", 2, js_kill),
    JS_CFUNC_DEF("pidfdOpen", 1, js_pidfd_open),
    JS_CFUNC_DEF("raiseFileLimit", 1, js_raise_file_limit),
    JS_CFUNC_MAGIC_DEF("getpid", 0, js_getpid, 0),
    JS_CFUNC_MAGIC_DEF("getppid", 0, js_getpid, 1),
    JS_CFUNC_DEF("exit", 1, js_exit),
    JS_CFUNC_DEF("getenv", 1, js_getenv),
    JS_CFUNC_DEF("environ", 0, js_environ),
    JS_CFUNC_DEF("argv", 0, js_argv),
};
SYS_TABLE(sys_process_table, functions);
