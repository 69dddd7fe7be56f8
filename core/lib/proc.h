/*
 * proc.h - run a program without a shell: own process group, clean descriptors, time limit,
 * captured output. At the limit the whole group gets SIGKILL.
 */
#ifndef CORE_LIB_PROC_H
#define CORE_LIB_PROC_H

#include "buf.h"
#include "loop.h"

/* Borrowed for the call. */
struct proc_command {
	const char *const *argv; /* argv[0] is the path */
	const char *const *env;  /* NULL: ours */
	const void *input;       /* standard input; NULL: /dev/null */
	size_t input_len;
	uint64_t timeout_ms; /* 0: 10 s */
	size_t output_limit; /* 0: 64 KiB; the rest is thrown away */
	int run_fd;          /* > 0: execute this open file (fexecve) instead of argv[0] */
};

struct proc_result {
	int error;                   /* 0; -ETIMEDOUT; another -errno: it never ran */
	int exit_code;               /* 0 to 255, 128 + signal when killed */
	struct buf *output, *errors; /* borrowed for the callback: standard output and error */
};

struct proc;
typedef void proc_fn(void *arg, const struct proc_result *result);

/* NULL when nothing could be started (errno is set; fn is not called). */
struct proc *proc_start(struct loop *loop, const struct proc_command *command, proc_fn *fn,
			void *arg);
void proc_kill(struct proc *proc); /* fn is not called any more */

#endif
