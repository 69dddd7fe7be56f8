/*
 * updown.h - what the hooks do, for join and leave to use too.
 */
#ifndef CORE_CLI_UPDOWN_H
#define CORE_CLI_UPDOWN_H

#include "command.h"

/* Starts the agent of cli->interface, or leaves it be where it runs. Waits for nothing remote.
 * EXIT_DONE; else it did not start and a sentence was printed: EXIT_USAGE (the configuration is
 * wrong) or EXIT_NOT_RUNNING. sees: one that runs and has not answered in time may only be slow, the
 * caller asks it again; else that is said. */
enum exit_code agent_up(const struct cli *cli, bool sees);
/* Ends it, if it runs, and leaves all in place. False: it is another network namespace's; a sentence was
 * printed. */
bool agent_stop(const struct cli *cli);
/* Ends it and removes all that the ledger holds. False: something is left, or it is another network
 * namespace's; a sentence was printed. leave: waits for its end. */
bool agent_down(const struct cli *cli, bool leave);

#endif
