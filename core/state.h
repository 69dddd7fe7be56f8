/*
 * state.h - STATEDIR/agent/IFACE.json (0600): who we are at which coordinator, the ranges recorded
 * at join, pins and choices made by command, and the last map. Written atomically; the map at most
 * every few seconds.
 */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include "lib/proto.h"

#define STATE_MAX_OTHERS 8

struct state {
	char *coordinator_url;        /* at which the identity below holds, */
	char *others[STATE_MAX_OTHERS]; /* and at these, as it has told us */
	size_t other_count;
	char agent_id[PROTO_ID_MAX], name[PROTO_NAME_MAX];
	char *token;                  /* secret; NULL: none */
	char *old_token; /* secret; the last one that was refused: a coordinator that has forgotten us
			    (an older copy of its database) knows by it that we were there */
	uint64_t token_renew_wall_ms; /* when to ask for another */
	struct key server_key;
	char **pins;
	size_t pin_count;
	struct proto_network *networks; /* ranges recorded at join: rule 6 measures against these */
	size_t network_count;
	json_t *relays; /* array of RELAY */
	json_t *map;    /* {"epoch","revision","peers":[PEER]} or NULL */
	json_t *choices; /* object: pinned paths, exit node, made by command */
	bool made_config; /* join wrote the wg-quick file, and its hash then */
	char *config_sha256, *config_path;
	char *yaml_sha256; /* of IFACE.yaml as join wrote it; NULL: it was there before */
	bool edited_config; /* join --edit-conf added our two lines */
	bool enabled_unit;  /* join enabled wg-quick@IFACE */
};

/* -ENOENT: never joined. -EBADMSG: damaged; a sentence in error. */
int state_load(struct state **out, const char *path, char error[static JS_ERROR]);
struct state *state_new(void);
int state_save(const struct state *state, const char *path);
void state_free(struct state *state); /* wipes the token */

/* The list of all coordinators that one of them has told us: true where others are new or gone. */
bool state_learn_others(struct state *state, json_t *urls);
/* The YAML file is the user's word: another address of the coordinator than was remembered holds
 * from now on, and a pin that is not among ours replaces them. pin NULL: ours stay. true: something
 * was changed. */
bool state_follow(struct state *state, const char *url, const char *pin);

#endif
