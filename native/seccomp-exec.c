/* seccomp-exec PROGRAM [ARGUMENT]...: executes the program (a path) under a seccomp(2) filter, for programs
 * that have none of their own and only move bytes between Unix sockets, files and memory. The filter denies
 * system calls that they never make and that are typical of attacks on the kernel. It is a deny list, since a
 * new version of a program may make other, harmless calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define FOREIGN 0x40000000u /* x32 calls start here */
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define FOREIGN 0x80000000u
#else
#error "name this architecture's AUDIT_ARCH"
#endif

#define COUNT(ARRAY) (sizeof(ARRAY) / sizeof(*(ARRAY)))
/* Missing in the headers of some C libraries; the numbers are the same on all architectures. */
enum { IO_URING_SETUP = 425, OPEN_TREE = 428, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, FSPICK, CLONE3 = 435 };
enum { PIDFD_GETFD = 438, MOUNT_SETATTR = 442 };

static const unsigned denied[] = {
    /* other processes, BPF, perf, keys, userfaultfd, io_uring */
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    PIDFD_GETFD,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_userfaultfd,
    IO_URING_SETUP,
    /* mounts and namespaces */
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_setns,
    SYS_unshare,
    OPEN_TREE,
    MOVE_MOUNT,
    FSOPEN,
    FSCONFIG,
    FSMOUNT,
    FSPICK,
    MOUNT_SETATTR,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    /* the machine */
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_syslog,
    SYS_personality,
};

#define NAMESPACES                                                                                           \
  (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define LOAD(FIELD) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, FIELD))
#define IF(OPERATION, VALUE, THEN, OTHERWISE)                                                                \
  BPF_JUMP(BPF_JMP | BPF_##OPERATION | BPF_K, VALUE, THEN, OTHERWISE)
#define ANSWER(VALUE) BPF_STMT(BPF_RET | BPF_K, VALUE)
#define FAIL(ERRNO) ANSWER(SECCOMP_RET_ERRNO | (ERRNO))

static int install(void) {
  const struct sock_filter head[] = {
      LOAD(arch),
      IF(JEQ, ARCHITECTURE, 1, 0),
      ANSWER(SECCOMP_RET_KILL_PROCESS),
      LOAD(nr),
      IF(JGE, FOREIGN, 0, 1),
      FAIL(ENOSYS),
      /* Its flags are in memory, where a filter cannot check them; C libraries fall back to clone. */
      IF(JEQ, CLONE3, 0, 1),
      FAIL(ENOSYS),
      IF(JEQ, SYS_clone, 0, 4),
      LOAD(args[0]),
      IF(JSET, NAMESPACES, 0, 1),
      FAIL(EPERM),
      ANSWER(SECCOMP_RET_ALLOW),
      IF(JEQ, SYS_socket, 0, 4),
      LOAD(args[0]),
      IF(JEQ, AF_UNIX, 1, 0),
      FAIL(EAFNOSUPPORT),
      ANSWER(SECCOMP_RET_ALLOW),
  };
  struct sock_filter program[COUNT(head) + 2 * COUNT(denied) + 1];
  size_t length = COUNT(head);
  memcpy(program, head, sizeof(head));
  for (size_t i = 0; i < COUNT(denied); i++) {
    program[length++] = (struct sock_filter)IF(JEQ, denied[i], 0, 1);
    program[length++] = (struct sock_filter)FAIL(EPERM);
  }
  program[length++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
  struct sock_fprog filter = {(unsigned short)length, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: seccomp-exec PROGRAM [ARGUMENT]...\n");
    return 2;
  }
  if (install()) {
    perror("seccomp-exec");
    return 126;
  }
  execv(argv[1], argv + 1);
  fprintf(stderr, "seccomp-exec: %s: %s\n", argv[1], strerror(errno));
  return 127;
}
