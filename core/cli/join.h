/*
 * join.h - what one join knows and has done so far, so that a failed one can be taken back.
 */
#ifndef CORE_CLI_JOIN_H
#define CORE_CLI_JOIN_H

#include "conf.h"
#include "enrol.h"

struct join {
	struct cli *cli;
	struct join_link link;
	char name[PROTO_NAME_MAX];
	char conf_path[PATHS_MAX];
	struct buf conf; /* the wg-quick file as it was */
	bool conf_there, interface_up;
	struct key private_key;
	uint16_t listen_port, yaml_port; /* yaml_port: IFACE.yaml's, for a file that is made; or 0 */
	json_t *answer; /* of the registration */
	struct state *state;
	bool again; /* this interface was a member before */

	/* what was done */
	bool registered, made_conf, edited_conf, wrote_config, wrote_state, enabled;
	bool stopped_agent; /* one that ran */
	bool agent_failed; /* it does not run or answer, though it should */
	unsigned new_state_dirs, new_config_dirs; /* how deep they were missing */
};

/* join_host.c: looks at this host and changes nothing. Each: 0, or an exit code after a sentence.
 */
int join_look(struct join *join); /* interface, wg-quick file, key, name, earlier state */
int join_check_networks(struct join *join, const json_t *networks); /* SPEC 2.1: overlaps */

/* join_files.c */
int join_write(struct join *join);      /* wg-quick file, IFACE.yaml, state */
void join_take_back(struct join *join); /* all that was done */
int join_note(struct join *join);       /* what was done so late that it is not in the state yet */

/* The lines of a wg-quick file that describe peers who are members: "lines 12 to 15 (nas)". Prints
 * them on stdout; `members` is a list of {"name","public_key"}. Returns how many. */
size_t print_double_peers(const char *path, const char *text, size_t len, const json_t *members);

#endif
