/*
 * running.h - who has an interface's name at this moment.
 */
#ifndef CORE_CLI_RUNNING_H
#define CORE_CLI_RUNNING_H

#include "agent.h"

enum running {
	RUNS_NOT,
	RUNS,           /* for this interface as it is now */
	RUNS_OUTDATED,  /* for an interface of this name that is gone, or its hook runner has died */
	RUNS_ELSEWHERE, /* in another network namespace */
	RUNS_HUNG,
};

/* agent_close in any case. */
enum running running_look(const struct cli *cli, struct agent *agent, int timeout_ms);

/* Says that it runs and does not answer, and what to do. EXIT_FAILED. */
int running_hung(const struct cli *cli, const struct agent *agent);

/* The name is another network namespace's: an agent lives there, or one has died and left its
 * ledger. A sentence was printed. For those who would change files or take an agent's place. */
bool running_elsewhere(const struct cli *cli);

#endif
