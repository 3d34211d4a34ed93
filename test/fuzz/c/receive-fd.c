/* guest-agent/sys/sockets.c, receiveFd: takes at most one descriptor of each message, and leaves none
 * open. */
#include "../../../guest-agent/sys/sys.h"
#include "fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

SEEDS(SEED("\x01"), SEED("\x00\x03\x10"), SEED("\x12\x01"));

enum { MOST = 40 };

static JSContext *ctx;
static JSValue functions;

static void send_descriptors(int socket, int count) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * MOST)];
  } control = {0};
  struct iovec part = {"x", 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    control.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    for (int i = 0; i < count; i++)
      memcpy(CMSG_DATA(&control.header) + (size_t)i * sizeof(int), &(int){2}, sizeof(int));
  }
  CHECK(sendmsg(socket, &message, 0) == 1);
}

static void check_message(const int ends[2], int count) {
  int before = open_descriptors(), received = -1;
  send_descriptors(ends[1], count);
  JSValue argument = JS_NewInt32(ctx, ends[0]);
  JSAtom atom = JS_NewAtom(ctx, "receiveFd");
  JSValue result = JS_Invoke(ctx, functions, atom, 1, (JSValueConst *)&argument);
  JS_FreeAtom(ctx, atom);
  CHECK(JS_IsException(result) == (count == 0));
  if (JS_IsException(result)) {
    JS_FreeValue(ctx, JS_GetException(ctx));
  } else {
    CHECK(!JS_ToInt32(ctx, &received, result));
    close(received);
  }
  CHECK(open_descriptors() == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!ctx) {
    ctx = JS_NewContext(JS_NewRuntime());
    functions = JS_NewObject(ctx);
    JS_SetPropertyFunctionList(ctx, functions, sys_sockets_table.entries, sys_sockets_table.count);
  }
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  for (size_t i = 0; i < size && i < 16; i++)
    check_message(ends, data[i] % MOST);
  close(ends[0]);
  close(ends[1]);
  return 0;
}
