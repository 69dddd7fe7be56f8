/*
 * enrol.h - asks wg-meshd to speak with a coordinator (register.h), so that this program needs no
 * HTTP; and where a join link comes from.
 */
#ifndef CORE_CLI_ENROL_H
#define CORE_CLI_ENROL_H

#include "command.h"
#include "lib/key.h"
#include "lib/proto.h"
#include "state.h"

/* The link in the arguments (overwritten there, so that `ps` stops showing it), on standard input,
 * or in a file. 0 or an exit code, after a sentence. */
int enrol_read_link(struct cli *cli, struct join_link *out);

struct enrolment { /* borrowed */
	const struct join_link *link;
	const struct key *private_key;
	const char *name;
	uint16_t listen_port;
	const struct words *advertise, *tags;
	bool exit_node;
};

/* 0 and the answer (new). Else an exit code, after a sentence; nothing was registered then. With
 * `preview` a coordinator makes nothing; one that knows no previews registers (agent_id is there).
 */
int enrol_register(const struct enrolment *enrolment, bool preview, json_t **answer);
/* 0, or an exit code and a sentence in why. */
#define ENROL_WHY 400
/* The agent goes on under a new key; again: it was asked for this one before. *answer (new): register.h */
int enrol_rekey(const struct state *state, const struct key *private_key, const struct key *new_key,
		bool again, json_t **answer, char why[static ENROL_WHY]);
int enrol_deregister(const struct state *state, const struct key *private_key,
		     char why[static ENROL_WHY]);

#endif
