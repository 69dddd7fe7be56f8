/*
 * run.h - runs a program to its end, without a shell, with a bounded wait. Input and output go
 * through memory files, so a daemon that the program leaves behind can hold no pipe of ours (nor,
 * with it, wg-quick's).
 */
#ifndef CORE_CLI_RUN_H
#define CORE_CLI_RUN_H

#include "lib/buf.h"
#include <sys/types.h>

struct run {
	const char *const *argv; /* argv[0]: a path, or a name that is looked for in PATH */
	const void *input;       /* NULL: nothing */
	size_t input_len;
	unsigned timeout_ms;
	bool leave_running; /* at the time limit: else it is killed with its process group */
};

struct run_result {
	int error;     /* 0; -ETIMEDOUT; another -errno: it could not be started */
	int exit_code; /* 128 + signal when it was killed */
	struct buf output, errors;
};

/* Returns result->error; then run_fini in any case. */
int run_program(const struct run *run, struct run_result *result);
void run_fini(struct run_result *result); /* wipes: an answer may hold a token */

/* The last line of its standard error that says something, or "" (borrowed). */
const char *run_last_line(struct run_result *result);

/* All of them on our standard error, indented: where no line alone is the cause (wg-quick goes on
 * to clean up after it has failed). */
void run_print_errors(struct run_result *result);

/* Waits for a child of ours; false: it still runs at the limit. */
bool run_wait(pid_t pid, int timeout_ms, int *status);

/* Path of the agent's program: beside this one, in ../sbin, else where it was to be installed. */
const char *run_agent_path(void);

#endif
