/*
 * events.h - WS /api/v1/events: what a dashboard listens to. Audit lines and agents as they change, of
 * the networks that the listener may see; judged anew for each event, so that a role that was taken
 * away counts at once. What is written is heard of when it is on the disk.
 */
#ifndef COORDINATOR_EVENTS_H
#define COORDINATOR_EVENTS_H

#include "coordinator/mesh/mesh.h"

struct coordinator;
struct events;
struct request;
struct who;

struct events *events_new(struct coordinator *co);
void events_free(struct events *events); /* without listeners */
void events_bye(struct events *events);
size_t events_listeners(const struct events *events);

void events_accept(struct request *rq, const struct who *who);
void events_cut(struct events *events, const char *access_id); /* events NULL is fine */

/* Each line of the audit, as JSON, whatever its network, with the batch of the store that has it; NULL: some were
 * lost, for the database is too far behind. */
typedef void events_follow_fn(void *arg, const char *line, uint64_t batch);
void events_follow(struct events *events, events_follow_fn *fn, void *arg); /* fn NULL: no more */

/* These tell of what is written: they are heard when what has been written in this group of the store is on the disk,
 * and not at all where it is refused. network NULL: for those with a role for everything. line is borrowed. */
void events_audit(struct events *events, const struct network *network, const json_t *line);
void events_agent(struct events *events, struct member *member);
void events_agent_gone(struct events *events, const struct network *network, const char *agent_id);
/* Where it is, or whether it is online: at once, but behind what is told of it above. */
void events_seen(struct events *events, struct member *member);

#endif
