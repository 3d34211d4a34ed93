/* open-tap NAME [MTU]: opens a tap as Cloud Hypervisor does (net_util/src/open_tap.rs, tap.rs at release
 * 53), prints "ready" and keeps it open until stdin ends. Reports failures with their errno, in Cloud
 * Hypervisor's words. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Size of virtio 1's header: struct virtio_net_hdr_v1. */
#define VNET_HEADER 12

static void require(int result, const char *step) {
  if (result >= 0)
    return;
  printf("%s: %s (os error %d)\n", step, strerror(errno), errno);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc < 2 || strlen(argv[1]) >= IFNAMSIZ)
    return 2;
  unsigned features;
  int header = VNET_HEADER;
  struct ifreq tap = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR}, query = {0};
  strcpy(tap.ifr_name, argv[1]);
  strcpy(query.ifr_name, argv[1]);

  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  require(fd, "Open tap device failed: Couldn't open /dev/net/tun");
  require(ioctl(fd, TUNGETFEATURES, &features), "Open tap device failed");
  require(ioctl(fd, TUNSETIFF, &tap), "Open tap device failed: Unable to configure tap interface");
  int socket_fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  require(socket_fd, "Failed to create a socket");
  if (argc > 2) {
    query.ifr_mtu = atoi(argv[2]);
    require(ioctl(socket_fd, SIOCSIFMTU, &query), "Setting MTU failed");
  }
  require(ioctl(socket_fd, SIOCGIFFLAGS, &query), "Enabling tap interface failed");
  if (!(query.ifr_flags & IFF_UP)) {
    query.ifr_flags = IFF_UP;
    require(ioctl(socket_fd, SIOCSIFFLAGS, &query), "Enabling tap interface failed");
  }
  require(ioctl(fd, TUNSETVNETHDRSZ, &header), "Setting vnet header size failed");

  puts("ready");
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0)
    ;
  return 0;
}
