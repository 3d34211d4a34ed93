/* capabilities(7), prctl(2), seccomp(2). */
#define _GNU_SOURCE
#include "confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "name this architecture's AUDIT_ARCH"
#endif

/* RLIMIT_NPROC: processes and threads of the pod's user, as in src/host/process-user.ts. */
#define MAX_USER_PROCESSES 4096

#define COUNT(ARRAY) (sizeof(ARRAY) / sizeof(*(ARRAY)))

#define NAMESPACES                                                                                           \
  (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* No files, exec, signals or bpf. clone and socket are allowed depending on their arguments, see below. */
static const int allowed[] = {
    SYS_read,           SYS_write,        SYS_close,
    SYS_connect,        SYS_accept4,      SYS_getsockname,
    SYS_setsockopt,     SYS_shutdown,     SYS_sendto,
    SYS_recvfrom,
#ifdef SYS_poll
    SYS_poll,
#endif
    SYS_ppoll,          SYS_wait4,        SYS_getpid,
    SYS_getppid,        SYS_prctl,        SYS_set_robust_list,
    SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_restart_syscall,
    SYS_exit_group,
};

static int filter_calls(void) {
  struct sock_filter program[COUNT(allowed) + 17];
  size_t length = 0;
#define ADD(...) program[length++] = (struct sock_filter)__VA_ARGS__
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
  /* fork: children inherit the filter. In a new user namespace a child would have all capabilities again. */
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4));
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])));
  ADD(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  /* Both kinds of connection to the guest. */
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 5));
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])));
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 2, 0));
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_VSOCK, 1, 0));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  for (size_t i = 0; i < COUNT(allowed); i++)
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], (unsigned char)(COUNT(allowed) - i), 0));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
#undef ADD
  struct sock_fprog filter = {(unsigned short)length, program};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

static int drop_bounding_set(void) {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
    if (prctl(PR_CAPBSET_DROP, capability))
      return -1;
  return 0;
}

static int drop_capabilities(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {0};
  return (int)syscall(SYS_capset, &header, none);
}

static int limit_processes(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NPROC, &limit))
    return -1;
  if (limit.rlim_max > MAX_USER_PROCESSES)
    limit.rlim_max = MAX_USER_PROCESSES;
  if (limit.rlim_cur > limit.rlim_max)
    limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NPROC, &limit);
}

const char *confine(uid_t user) {
  if (drop_bounding_set())
    return "empty the bounding set";
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    return "empty the ambient set";
  if (limit_processes())
    return "limit the number of processes";
  if (setgroups(0, NULL))
    return "leave all groups";
  if (user != 0 && (setresgid(user, user, user) || setresuid(user, user, user)))
    return "become the pod's user";
  if (drop_capabilities())
    return "drop all capabilities";
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) /* other processes of this user must not read its memory */
    return "forbid tracing";
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    return "set no_new_privs";
  return filter_calls() ? "set the seccomp filter" : NULL;
}
