/*
 * sock.h - sockets, always close-on-exec and non-blocking. Functions that make one return the
 * descriptor or a negative errno.
 */
#ifndef CORE_LIB_SOCK_H
#define CORE_LIB_SOCK_H

#include "addr.h"
#include <sys/types.h>

int sock_listen_tcp(const struct endpoint *at); /* "[::]" takes both families */
/* Replaces a dead socket; -EADDRINUSE: alive; -EEXIST: not a socket. */
int sock_listen_unix(const char *path, mode_t mode);
/* Waits 100 ms at most. -ECONNREFUSED: dead; -ETIMEDOUT: alive, but takes nobody. */
int sock_connect_unix(const char *path);
int sock_accept(int fd, struct endpoint *from); /* from may be NULL */
int sock_udp(const struct endpoint *at);
int sock_peer_uid(int fd, uid_t *uid); /* of a unix socket's other end */
int sock_local(int fd, struct endpoint *out);
int sock_remote(int fd, struct endpoint *out);

/* The address the kernel would send from towards `to` (with this fwmark; 0: none): connects a UDP
 * socket, sends nothing. -ENETUNREACH: no route. */
int sock_source_for(const struct endpoint *to, uint32_t fwmark, struct addr *out);

/* "ADDR:PORT", "[ADDR]:PORT" or ":PORT" (any address, both families), as --listen takes it.
 * Port 0: the kernel chooses (sock_local tells). */
bool listen_parse(struct endpoint *out, const char *text);

#endif
