// Stands in for libsystemd.so.0 in the guest. Debian's crun is linked with it for systemd's cgroup manager,
// journal and notifications; there is no systemd in the guest, so none of them can be used there. The real
// library would bring five more (libgcrypt, libgpg-error, liblzma, libzstd, liblz4) to be loaded and
// relocated at every start of crun. Every function answers what the real one answers where systemd does not
// run: man 3 sd_notify, sd_bus_default.
#include <errno.h>

#define UNSUPPORTED(name)                                                                                    \
  int name(void);                                                                                            \
  int name(void) {                                                                                           \
    return -EOPNOTSUPP;                                                                                      \
  }
#define NOTHING_TO_DO(name)                                                                                  \
  int name(void);                                                                                            \
  int name(void) {                                                                                           \
    return 0;                                                                                                \
  }
#define FREES_NOTHING(name)                                                                                  \
  void *name(void);                                                                                          \
  void *name(void) {                                                                                         \
    return 0;                                                                                                \
  }

UNSUPPORTED(sd_bus_call)
UNSUPPORTED(sd_bus_default_system)
UNSUPPORTED(sd_bus_default_user)
UNSUPPORTED(sd_bus_match_signal_async)
UNSUPPORTED(sd_bus_message_append)
UNSUPPORTED(sd_bus_message_append_strv)
UNSUPPORTED(sd_bus_message_close_container)
UNSUPPORTED(sd_bus_message_new_method_call)
UNSUPPORTED(sd_bus_message_open_container)
UNSUPPORTED(sd_bus_message_read)
UNSUPPORTED(sd_bus_process)
UNSUPPORTED(sd_bus_wait)
UNSUPPORTED(sd_journal_send_with_location)
NOTHING_TO_DO(sd_bus_error_get_errno)
NOTHING_TO_DO(sd_notify)
NOTHING_TO_DO(sd_notify_barrier)
FREES_NOTHING(sd_bus_error_free)
FREES_NOTHING(sd_bus_message_unref)
FREES_NOTHING(sd_bus_unref)
