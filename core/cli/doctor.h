/*
 * doctor.h - one finding a check: fine, worth knowing, or a problem with its remedy.
 */
#ifndef CORE_CLI_DOCTOR_H
#define CORE_CLI_DOCTOR_H

#include "command.h"
#include "conf.h"
#include "lib/json.h"
#include "state.h"

enum doctor_result { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_PROBLEM };

struct doctor {
	struct cli *cli;
	const char *check; /* the one that runs */
	json_t *findings;  /* list of {"check","result","message","remedy"} */
	unsigned problems;
	/* what is known of the interface; without one (cli->interface NULL) nothing of it is */
	char conf_path[PATHS_MAX];
	struct buf conf;
	bool conf_there, conf_hidden; /* hidden: only root can tell */
	struct state *state; /* NULL: none */
	json_t *status;      /* the agent's; NULL: it does not run */
	json_t *plugins;     /* likewise */
};

struct doctor_check {
	const char *name;
	void (*fn)(struct doctor *doctor);
};
extern const struct doctor_check doctor_host_checks[], doctor_mesh_checks[]; /* end with no name */

/* remedy NULL: there is none to name. The first IFACE in it becomes the interface's name. */
void doctor_say(struct doctor *doctor, enum doctor_result result, const char *remedy,
		const char *format, ...) PRINTF_LIKE(4, 5);
bool doctor_in_path(const char *program);

#endif
