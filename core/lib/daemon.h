/*
 * daemon.h - what turns a program into a service: signals, sd_notify, capabilities, detaching.
 */
#ifndef CORE_LIB_DAEMON_H
#define CORE_LIB_DAEMON_H

#include "util.h"
#include <sys/types.h>

void daemon_notify(const char *state); /* sd_notify(3) text; nothing without NOTIFY_SOCKET */

/* Keeps only the capabilities in `keep` (bits by CAP_*) in every set, the bounding set included,
 * and sets no_new_privs. Of the calling thread: before any other is made. 0 or -errno. Without
 * CAP_SETPCAP the bounding set stays, which no_new_privs makes harmless. */
int daemon_drop_capabilities(uint64_t keep);

/* fork, setsid, descriptors above 2 closed, 0 to 2 on /dev/null (log_path NULL) or the file.
 * Returns in the child; the parent gets the child's pid. -errno on failure. */
pid_t daemon_fork(const char *log_path);

void daemon_close_fds(int lowest); /* every descriptor from there up */

/* Makes this process the one that `pid_path` stands for: its id is in the file and a lock of its
 * own (not of its children) on it, which goes when the process does. 0; -EAGAIN: another holds it.
 * Unlink the file before the end. */
int daemon_hold(const char *pid_path);
pid_t daemon_holder(const char *pid_path); /* who holds it; 0: nobody */

/* True where systemd is the init of this mount and network namespace and manages this host. */
bool daemon_under_systemd(void);
uint64_t netns_id(void); /* inode of our network namespace */
/* Whether a network namespace is there as far as can be seen from here: a process is in it, or it
 * has a name (ip netns). One that only another process namespace knows is not seen. */
bool netns_exists(uint64_t id);

#endif
