/*
 * firstlink.h - the join link of the first start (SPEC 2.2): printed, or under systemd written to
 * STATE/first-links (0600); never in a log.
 */
#ifndef COORDINATOR_FIRSTLINK_H
#define COORDINATOR_FIRSTLINK_H

struct coordinator;
struct network;

/* Makes the key, and shows the link once it is durable. */
void firstlink_make(struct coordinator *co, struct network *network);

#endif
