/*
 * login.h - back-off on wrong passwords, by source (addr.h: an address, or an IPv6 /64) and by user: the first
 * few are free, then each one doubles the wait. Pure: time is passed in.
 */
#ifndef COORDINATOR_LOGIN_H
#define COORDINATOR_LOGIN_H

#include "lib/util.h"

struct logins;

struct logins *logins_new(void);
void logins_free(struct logins *logins);

/* `user` is NULL where only the source is known. 0: try; else so many milliseconds to wait. */
uint64_t logins_wait(const struct logins *logins, const char *user, const char *address, uint64_t now_ms);
/* Counted before the password is looked at, so that many at once gain nothing; forgiven when right. Where the
 * table is full, whoever tried longest ago is forgotten. */
void logins_tried(struct logins *logins, const char *user, const char *address, uint64_t now_ms);
void logins_right(struct logins *logins, const char *user, const char *address);

#endif
