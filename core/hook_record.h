/*
 * hook_record.h - RUNDIR/IFACE.hooks: which -up has run without its -down, so that each gets one,
 * after a crash too. One JSON document a line: first what it holds for (boot, interface index,
 * network namespace), then events as they came. Whoever holds it open has it alone (flock).
 *
 * A record of an earlier boot owes nothing. One of an interface that was made anew since owes all
 * its -downs at once (hook_record_stale).
 */
#ifndef CORE_HOOK_RECORD_H
#define CORE_HOOK_RECORD_H

#include "event.h"

struct hook_record;

/* 0; -EWOULDBLOCK: another runner is still at work; or another -errno. */
int hook_record_open(struct hook_record **out, const char *path, const char *interface);
/* The same, but makes none. -ENOENT: there is none, so nothing is owed (any more). */
int hook_record_open_owed(struct hook_record **out, const char *path, const char *interface);
void hook_record_close(struct hook_record *record);
bool hook_record_stale(const struct hook_record *record);

/* Events whose -down is owed, borrowed: {"event":"peer-up",...}. */
const json_t *hook_record_owed(const struct hook_record *record);
/* The -up of that kind (and peer) which is owed and whose -down is not on its way; NULL: none. */
json_t *hook_record_find(const struct hook_record *record, enum event_type up, const char *peer);

/* Each is written before it returns; failures are logged. */
void hook_record_up(struct hook_record *record, json_t *event);
void hook_record_ending(struct hook_record *record, json_t *up); /* its -down is about to run */
bool hook_record_is_ending(const json_t *up);
void hook_record_renew(struct hook_record *record); /* from now on for the interface as it is now */
void hook_record_done(struct hook_record *record, json_t *up);   /* its -down has run */

/* Without opening: how many are owed (of `up` alone, or of any type with EVENT_COUNT) by this boot.
 * with_ending: counts those whose -down is running; any_interface: also of one that was made anew. */
size_t hook_record_count(const char *path, enum event_type up, bool with_ending, bool any_interface);

/* The other half of agent-up and peer-up; EVENT_COUNT: no such pair. */
enum event_type hook_down_of(enum event_type up);
enum event_type hook_up_of(enum event_type down);

#endif
