/*
 * firstlink.h - the links of the first start (SPEC 2.2), one to join and one to the dashboard: printed, or
 * under systemd written to STATE/first-links (0600); never in a log.
 */
#ifndef COORDINATOR_FIRSTLINK_H
#define COORDINATOR_FIRSTLINK_H

struct coordinator;

/* Makes the network `default` where a private range is free, its key, and the user with its link, and shows them once they are durable. */
void firstlink_make(struct coordinator *co);

#endif
