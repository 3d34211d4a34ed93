/* The guest of test/conformance/vsock.test.ts, as PID 1: loads the modules of hull's initrd, listens on the
 * agent's port and on another, calls the host as the agent does, and serves each connection by the command in
 * its first line:
 *
 *   who          replies with the kernel parameter "peer", then reads the next command
 *   echo         sends back what it gets, until the end
 *   source N     sends N bytes, then waits for the host to close
 *   sink         reads to the end and replies with number and checksum of the bytes (the host may not get
 * that) stall        like sink, but reads nothing before "resume" arrives at another connection last replies
 * as the last sink has die          powers the machine off */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define AGENT_PORT 1024
#define PORT 2000
#define HOST_PORT 999999999

static char token[64] = "none", last[64] = "none";
static volatile int dialled, resumed;

static void load_modules(void) {
  char line[256];
  FILE *order = fopen("/lib/modules/hull.order", "r");
  while (order != NULL && fgets(line, sizeof(line), order) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    int fd = open(line, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) != 0)
      printf("peer: %s: %s\n", line, strerror(errno));
    close(fd);
  }
}

static void read_token(void) {
  char line[4096] = "";
  mkdir("/proc", 0755);
  mount("proc", "/proc", "proc", 0, NULL);
  FILE *file = fopen("/proc/cmdline", "r");
  char *found = file != NULL && fgets(line, sizeof(line), file) != NULL ? strstr(line, "peer=") : NULL;
  if (found != NULL)
    sscanf(found, "peer=%63s", token);
}

static int send_all(int fd, const void *data, size_t size) {
  for (size_t sent = 0; sent < size;) {
    ssize_t count = write(fd, (const char *)data + sent, size - sent);
    if (count <= 0)
      return -1;
    sent += (size_t)count;
  }
  return 0;
}

static void echo(int fd) {
  char data[1 << 14];
  for (ssize_t count; (count = read(fd, data, sizeof(data))) > 0;)
    if (send_all(fd, data, (size_t)count) != 0)
      return;
}

static void source(int fd, long size) {
  char data[1 << 14];
  for (size_t index = 0; index < sizeof(data); index++)
    data[index] = (char)(index % 251);
  for (long sent = 0; sent < size; sent += (long)sizeof(data))
    if (send_all(fd, data, size - sent < (long)sizeof(data) ? (size_t)(size - sent) : sizeof(data)) != 0)
      return;
  while (read(fd, data, sizeof(data)) > 0)
    ;
}

static void sink(int fd) {
  unsigned char data[1 << 14];
  uint32_t sum = 1;
  long total = 0;
  for (ssize_t count; (count = read(fd, data, sizeof(data))) > 0; total += count)
    for (ssize_t index = 0; index < count; index++)
      sum = (sum ^ data[index]) * 16777619u;
  snprintf(last, sizeof(last), "%ld %u\n", total, sum);
  send_all(fd, last, strlen(last));
}

static void *serve(void *data) {
  int fd = (int)(intptr_t)data;
  char line[64];
  size_t length = 0;
  while (length < sizeof(line) - 1 && read(fd, line + length, 1) == 1) {
    if (line[length++] != '\n')
      continue;
    line[length - 1] = '\0';
    length = 0;
    if (strcmp(line, "who") == 0) {
      send_all(fd, token, strlen(token));
      send_all(fd, "\n", 1);
      continue;
    }
    if (strcmp(line, "echo") == 0)
      echo(fd);
    else if (strncmp(line, "source ", 7) == 0)
      source(fd, atol(line + 7));
    else if (strcmp(line, "sink") == 0)
      sink(fd);
    else if (strcmp(line, "stall") == 0) {
      for (int before = resumed; before == resumed;)
        usleep(20000);
      sink(fd);
    } else if (strcmp(line, "resume") == 0)
      resumed++;
    else if (strcmp(line, "last") == 0)
      send_all(fd, last, strlen(last));
    else if (strcmp(line, "die") == 0)
      reboot(RB_POWER_OFF);
    break;
  }
  close(fd);
  return NULL;
}

static void start(void *(*run)(void *), long argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, run, (void *)(intptr_t)argument) == 0)
    pthread_detach(thread);
}

static void *accept_all(void *listening) {
  for (int stream; (stream = accept((int)(intptr_t)listening, NULL, NULL)) >= 0;) {
    dialled = 1;
    start(serve, stream);
  }
  return NULL;
}

static void serve_port(unsigned port) {
  struct sockaddr_vm at = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
  int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 128) != 0)
    printf("peer: listen: %s\n", strerror(errno));
  start(accept_all, fd);
}

/* As the agent does, until the host has dialled. */
static void call_host(void) {
  struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = HOST_PORT};
  for (int attempts = 0; attempts < 1000 && !dialled; attempts++) {
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
      start(serve, fd);
      return;
    }
    close(fd);
    usleep(50000);
  }
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  read_token();
  load_modules();
  serve_port(PORT);
  serve_port(AGENT_PORT); /* last: the host dials it until it gets an answer */
  call_host();
  while (1)
    pause();
}
