/* The system calls for AF_VSOCK (vsock(7)) and /dev/vhost-vsock; src/vsock/native.ts turns the sockets into
 * streams. Every function returns a descriptor or 0, or a negative errno, as libuv does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <node_api.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <uv.h>

#include <linux/vm_sockets.h>

#define MAX_ARGUMENTS 4

/* A connect under way. Node's loop watches the socket: there is no thread that could outlive Node. */
struct call {
  uv_poll_t poll;
  int fd;
  napi_env env;
  napi_ref callback;
  napi_async_context context;
  /* Node waits at its exit until this is removed. */
  napi_async_cleanup_hook_handle hook;
};

static int failed(int fd) {
  int error = -errno;
  if (fd >= 0)
    close(fd);
  return error;
}

static napi_value answer(napi_env env, int number) {
  napi_value value = NULL;
  napi_create_int32(env, number, &value);
  return value;
}

static napi_value misuse(napi_env env) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "vsock: wrong arguments");
  return NULL;
}

/* Reads `count` numbers; returns false if one of them is not a number. *rest, if given, gets the last
 * argument. */
static bool numbers(napi_env env, napi_callback_info info, size_t count, uint32_t *to, napi_value *rest) {
  napi_value arguments[MAX_ARGUMENTS];
  size_t given = MAX_ARGUMENTS;
  if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok)
    return false;
  if (given != count + (rest != NULL))
    return false;
  for (size_t index = 0; index < count; index++)
    if (napi_get_value_uint32(env, arguments[index], &to[index]) != napi_ok)
      return false;
  if (rest != NULL)
    *rest = arguments[count];
  return true;
}

static struct sockaddr_vm address(uint32_t cid, uint32_t port) {
  struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
  return to;
}

/* Starts to connect. The kernel ends the attempt, with ETIMEDOUT, when the time is over. */
static int start_connect(uint32_t cid, uint32_t port, uint32_t milliseconds) {
  struct sockaddr_vm to = address(cid, port);
  struct timeval limit = {.tv_sec = milliseconds / 1000,
                          .tv_usec = (suseconds_t)(milliseconds % 1000) * 1000};
  int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof(limit)) != 0)
    return failed(fd);
  if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
    return failed(fd);
  return fd;
}

static void closed(uv_handle_t *handle) {
  struct call *call = handle->data;
  if (call->hook != NULL)
    napi_remove_async_cleanup_hook(call->hook);
  free(call);
}

/* Ends watching. To be called before the descriptor is closed or given away, since libuv uses its number. */
static void unwatch(struct call *call) {
  uv_close((uv_handle_t *)&call->poll, closed);
}

static void forget_callback(struct call *call) {
  if (call->context != NULL)
    napi_async_destroy(call->env, call->context);
  if (call->callback != NULL)
    napi_delete_reference(call->env, call->callback);
}

/* Node is exiting. */
static void abandon(napi_async_cleanup_hook_handle hook, void *data) {
  (void)hook;
  struct call *call = data;
  if (uv_is_closing((uv_handle_t *)&call->poll))
    return; /* `closed` follows */
  unwatch(call);
  close(call->fd);
  forget_callback(call);
}

/* Calls callback(result) as Node calls its own: an exception is uncaught, and what it has queued is run. */
static void report(napi_env env, napi_async_context context, napi_ref reference, int result) {
  napi_value callback, receiver, thrown, number = answer(env, result);
  if (napi_get_reference_value(env, reference, &callback) != napi_ok ||
      napi_get_global(env, &receiver) != napi_ok)
    return;
  if (napi_make_callback(env, context, receiver, callback, 1, &number, NULL) != napi_pending_exception)
    return;
  if (napi_get_and_clear_last_exception(env, &thrown) == napi_ok)
    napi_fatal_exception(env, thrown);
}

static void settled(uv_poll_t *poll, int status, int events) {
  (void)events;
  struct call *call = poll->data;
  napi_handle_scope scope;
  int error = 0;
  socklen_t size = sizeof(error);
  unwatch(call);
  /* libuv reports any failure as EBADF; the socket knows the reason. */
  if (getsockopt(call->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
    error = errno;
  if (error == 0 && status < 0)
    error = -status;
  if (error != 0)
    close(call->fd);
  if (napi_open_handle_scope(call->env, &scope) == napi_ok) {
    report(call->env, call->context, call->callback, error == 0 ? call->fd : -error);
    napi_close_handle_scope(call->env, scope);
  }
  forget_callback(call);
}

/* Has Node's loop watch the socket. Returns 0 or a negative errno; the descriptor stays the caller's then. */
static int watch(napi_env env, int fd, napi_value callback) {
  uv_loop_t *loop;
  napi_value name;
  struct call *call = calloc(1, sizeof(*call));
  if (call == NULL)
    return -ENOMEM;
  call->env = env;
  call->fd = fd;
  int error = napi_get_uv_event_loop(env, &loop) == napi_ok ? uv_poll_init(loop, &call->poll, fd) : -EINVAL;
  if (error != 0) {
    free(call);
    return error;
  }
  call->poll.data = call;
  if (napi_create_string_utf8(env, "vsock connect", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_reference(env, callback, 1, &call->callback) != napi_ok ||
      napi_async_init(env, NULL, name, &call->context) != napi_ok ||
      napi_add_async_cleanup_hook(env, abandon, call, &call->hook) != napi_ok)
    error = -ENOMEM;
  else
    error = uv_poll_start(&call->poll, UV_WRITABLE, settled);
  if (error != 0) {
    unwatch(call);
    forget_callback(call);
  }
  return error;
}

/* connect(cid, port, milliseconds, callback(fd)): the callback gets the result, unless this fails at once */
static napi_value vsock_connect(napi_env env, napi_callback_info info) {
  uint32_t given[3];
  napi_value callback;
  napi_valuetype type;
  if (!numbers(env, info, 3, given, &callback) || napi_typeof(env, callback, &type) != napi_ok ||
      type != napi_function)
    return misuse(env);
  int fd = start_connect(given[0], given[1], given[2]);
  if (fd < 0)
    return answer(env, fd);
  int error = watch(env, fd, callback);
  if (error != 0)
    close(fd);
  return answer(env, error);
}

/* listen(cid, port, backlog) */
static napi_value vsock_listen(napi_env env, napi_callback_info info) {
  uint32_t given[3];
  if (!numbers(env, info, 3, given, NULL))
    return misuse(env);
  struct sockaddr_vm at = address(given[0], given[1]);
  int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, (int)given[2]) != 0)
    return answer(env, failed(fd));
  return answer(env, fd);
}

/* carrier(): a socket of a family that Node accepts, bound to a name that the kernel chooses (autobind,
 * unix(7)). */
static napi_value vsock_carrier(napi_env env, napi_callback_info info) {
  if (!numbers(env, info, 0, NULL, NULL))
    return misuse(env);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr family = {.sa_family = AF_UNIX};
  if (fd < 0 || bind(fd, &family, sizeof(family.sa_family)) != 0)
    return answer(env, failed(fd));
  return answer(env, fd);
}

/* replace(carrier, fd): makes the carrier's descriptor number refer to the other socket and closes `fd`. */
static napi_value vsock_replace(napi_env env, napi_callback_info info) {
  uint32_t given[2];
  if (!numbers(env, info, 2, given, NULL))
    return misuse(env);
  int carrier = (int)given[0], fd = (int)given[1];
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || dup3(fd, carrier, O_CLOEXEC) < 0)
    return answer(env, failed(fd));
  close(fd);
  return answer(env, 0);
}

/* reserve(cid): a descriptor of /dev/vhost-vsock that reserves the context id while it is open. */
static napi_value vsock_reserve(napi_env env, napi_callback_info info) {
  uint32_t cid;
  if (!numbers(env, info, 1, &cid, NULL))
    return misuse(env);
  uint64_t guest = cid;
  int fd = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);
  if (fd < 0 || ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &guest) != 0)
    return answer(env, failed(fd));
  return answer(env, fd);
}

/* close(fd) */
static napi_value vsock_close(napi_env env, napi_callback_info info) {
  uint32_t fd;
  if (!numbers(env, info, 1, &fd, NULL))
    return misuse(env);
  return answer(env, close((int)fd) == 0 ? 0 : -errno);
}

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
      {.utf8name = "connect", .method = vsock_connect, .attributes = napi_enumerable},
      {.utf8name = "listen", .method = vsock_listen, .attributes = napi_enumerable},
      {.utf8name = "carrier", .method = vsock_carrier, .attributes = napi_enumerable},
      {.utf8name = "replace", .method = vsock_replace, .attributes = napi_enumerable},
      {.utf8name = "reserve", .method = vsock_reserve, .attributes = napi_enumerable},
      {.utf8name = "close", .method = vsock_close, .attributes = napi_enumerable},
  };
  napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
  return exports;
}
