/*
 * loop.h - the event loop (libev inside). Watchers are embedded in their owner, who finds itself
 * by the `arg` it gave or by container_of. A callback may stop or free any watcher, its own too.
 * Timers live in our own heap, so that tests can run them on a fake clock (clock.h).
 */
#ifndef CORE_LIB_LOOP_H
#define CORE_LIB_LOOP_H

#include "list.h"
#include <ev.h>
#include <sys/types.h>

struct loop;
enum loop_events { LOOP_READ = 1, LOOP_WRITE = 2 };

typedef void loop_io_fn(void *arg, int fd, unsigned events);
typedef void loop_timer_fn(void *arg);
typedef void loop_child_fn(void *arg, int status); /* status as waitpid gives it */
typedef void loop_signal_fn(void *arg, int signo);

struct loop_io { /* all-zero is a valid stopped one for io_stop */
	ev_io ev;
	struct loop *loop;
	loop_io_fn *fn;
	void *arg;
};

struct loop_timer { /* one shot; start again from the callback for a period */
	struct loop *loop;
	loop_timer_fn *fn;
	void *arg;
	uint64_t due_ms, order; /* timers due at once run in the order they were started */
	size_t slot;            /* 1-based place in the heap; 0: not running */
};

struct loop_child {
	struct loop_io io;      /* of a pidfd; -1 where there are none */
	struct loop_timer poll; /* looks instead */
	pid_t pid;
	loop_child_fn *fn;
	void *arg;
};

struct loop_signal {
	ev_signal ev;
	struct loop *loop;
	loop_signal_fn *fn;
	void *arg;
};

struct loop_task { /* runs once at the end of this wake; for coalescing */
	struct list node;
	loop_timer_fn *fn;
	void *arg;
};

/* Also makes the process ignore SIGPIPE: a peer that is gone is EPIPE. */
struct loop *loop_new(void);
void loop_free(struct loop *loop);
void loop_run(struct loop *loop); /* until loop_stop or nothing is left to wait for */
void loop_stop(struct loop *loop);
uint64_t loop_now(struct loop *loop); /* clock_ms of this wake */
/* For tests: advances the fake clock by ms, runs the timers in order, and polls descriptors without
 * waiting until they rest. Ends the process when they never do. */
void loop_run_fake(struct loop *loop, uint64_t ms);

void io_init(struct loop_io *io, struct loop *loop, int fd, loop_io_fn *fn, void *arg);
void io_start(struct loop_io *io, unsigned events); /* again: changes the events; 0: stops */
void io_stop(struct loop_io *io); /* does not close the descriptor; close it only afterwards */

void timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_fn *fn, void *arg);
void timer_start(struct loop_timer *timer, uint64_t ms); /* a running one is moved */
void timer_stop(struct loop_timer *timer);
bool timer_active(const struct loop_timer *timer);

/* Takes over waiting for `pid`. 0 or -errno (then nobody waits). */
int child_start(struct loop_child *child, struct loop *loop, pid_t pid, loop_child_fn *fn,
		void *arg);
void child_stop(struct loop_child *child); /* the child lives on, unwaited */

void signal_start(struct loop_signal *sig, struct loop *loop, int signo, loop_signal_fn *fn,
		  void *arg);
void signal_stop(struct loop_signal *sig);

void task_init(struct loop_task *task, loop_timer_fn *fn, void *arg);
void task_defer(struct loop *loop, struct loop_task *task); /* twice in one wake: runs once */
void task_cancel(struct loop_task *task);

/* The one call that other threads may make: fn(arg) runs on the loop's thread, in order. What was
 * posted and has not run when the loop is freed never runs. */
void loop_post(struct loop *loop, loop_timer_fn *fn, void *arg);

#endif
