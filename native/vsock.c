/* The system calls for AF_VSOCK (vsock(7)) and /dev/vhost-vsock; src/vsock/native.ts turns the sockets into
 * streams. Every function returns a descriptor or 0, or a negative errno, as libuv does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <node_api.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define MAX_ARGUMENTS 4

/* The arguments and the result of a thread that connects. */
struct call {
  napi_threadsafe_function done;
  struct sockaddr_vm to;
  struct timeval limit;
  int result;
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

/* connect(2) blocks until the peer answers or the timeout expires. Runs in its own thread, since Node's
 * few are for files. */
static void *connect_thread(void *data) {
  struct call *call = data;
  int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  call->result = fd < 0 ? -errno : fd;
  if (fd >= 0 &&
      (setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &call->limit, sizeof(call->limit)) != 0 ||
       connect(fd, (struct sockaddr *)&call->to, sizeof(call->to)) != 0))
    call->result = failed(fd);
  napi_threadsafe_function done = call->done;
  if (napi_call_threadsafe_function(done, call, napi_tsfn_blocking) != napi_ok) {
    if (call->result >= 0)
      close(call->result);
    free(call);
  }
  napi_release_threadsafe_function(done, napi_tsfn_release);
  return NULL;
}

/* Runs in Node's thread; without an env Node is exiting. */
static void connected(napi_env env, napi_value callback, void *context, void *data) {
  (void)context;
  struct call *call = data;
  napi_value receiver, result;
  if (env == NULL) {
    if (call->result >= 0)
      close(call->result);
  } else if (napi_get_undefined(env, &receiver) == napi_ok) {
    result = answer(env, call->result);
    napi_call_function(env, receiver, callback, 1, &result, NULL);
  }
  free(call);
}

/* connect(cid, port, milliseconds, callback(fd)) */
static napi_value vsock_connect(napi_env env, napi_callback_info info) {
  uint32_t given[3];
  napi_value callback, name;
  if (!numbers(env, info, 3, given, &callback))
    return misuse(env);
  struct call *call = calloc(1, sizeof(*call));
  if (call == NULL)
    return answer(env, -ENOMEM);
  call->to = address(given[0], given[1]);
  call->limit.tv_sec = given[2] / 1000;
  call->limit.tv_usec = (suseconds_t)(given[2] % 1000) * 1000;
  napi_create_string_utf8(env, "vsock connect", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env, callback, NULL, name, 0, 1, NULL, NULL, NULL, connected,
                                      &call->done) != napi_ok) {
    free(call);
    return misuse(env);
  }
  /* Node's threads handle signals. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  pthread_t thread;
  int error = pthread_create(&thread, NULL, connect_thread, call);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) {
    napi_release_threadsafe_function(call->done, napi_tsfn_abort);
    free(call);
    return answer(env, -error);
  }
  pthread_detach(thread);
  return answer(env, 0);
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
