/*
 * reload.h - SIGHUP.
 */
#ifndef COORDINATOR_RELOAD_H
#define COORDINATOR_RELOAD_H

struct coordinator;

void coordinator_reload(struct coordinator *co); /* says in the log what came of it */

#endif
