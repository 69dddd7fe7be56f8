/*
 * events.h - WS /api/v1/events: what a dashboard listens to. Audit lines and agents as they change, of
 * the networks that the listener may see; judged anew for each event, so that a role that was taken
 * away counts at once.
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

/* network NULL: for those with a role for everything. line is borrowed. */
void events_audit(struct events *events, const struct network *network, json_t *line);
void events_agent(struct events *events, const struct member *member);
void events_agent_gone(struct events *events, const struct network *network, const char *agent_id);

#endif
