/*
 * bus.h - short texts between the coordinators on one PostgreSQL: LISTEN and NOTIFY on a connection and a
 * thread of their own, so that neither waits for a commit. Nothing is kept: what is said while a
 * connection is away is lost, and both sides are told when it is back.
 */
#ifndef COORDINATOR_BUS_H
#define COORDINATOR_BUS_H

#include "lib/loop.h"

#define BUS_TEXT_MAX 7900 /* PostgreSQL takes fewer than 8000 bytes */

struct bus;
struct bus_ops { /* called on the loop */
	void (*up)(void *arg, bool up); /* true: from here on all is heard */
	/* "": something was committed, by whomever */
	void (*heard)(void *arg, const char *text);
};

/* `self` is one word of letters and digits. NULL: this build is without PostgreSQL. */
struct bus *bus_new(struct loop *loop, const char *url, const char *self, const struct bus_ops *ops, void *arg);
void bus_free(struct bus *bus);
bool bus_up(const struct bus *bus);
/* to NULL: everyone, also ourselves. Dropped where the connection is away, or too much waits. Two equal
 * texts may arrive as one. */
void bus_send(struct bus *bus, const char *to, const char *text);

#endif
