/*
 * rundir.h - how a coordinator finds the relay that runs beside it, also after its own restart:
 *   DIR/relay.lock  locked (flock) as long as we live; holds our process id
 *   DIR/relay.json  one line {"pid":N,"stun":["ADDR:PORT",...],"version":"..."}, there once we
 *                   serve, gone after a clean end
 */
#ifndef RELAY_RUNDIR_H
#define RELAY_RUNDIR_H

#include "lib/addr.h"

struct rundir;

/* NULL and a sentence in error, also where another relay holds the lock. */
struct rundir *rundir_take(const char *path, char *error, size_t size);
/* 0 or -errno. */
int rundir_publish(struct rundir *dir, const struct endpoint *stun, size_t count);
void rundir_leave(struct rundir *dir); /* NULL is fine */

#endif
