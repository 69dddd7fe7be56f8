/*
 * The event loop. libev waits for descriptors and signals; timers are our own heap, woken by one
 * timerfd on CLOCK_BOOTTIME (libev's clock stands still while the machine sleeps, clock_ms does
 * not). A wake is: descriptors, timers that are due, deferred tasks.
 *
 * The tricky thing: a callback may free its watcher, so nothing here touches a watcher after its
 * function has been called, and a timer or task leaves its heap or list before it runs.
 */
#include "loop.h"

#include "clock.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_POLL_MS   20     /* before Linux 5.3, and under valgrind, which has no pidfd_open */
#define FAKE_ROUNDS_MAX 100000 /* polls at one fake instant: a ping-pong must not hang a test */

struct posted {
	struct list node;
	loop_timer_fn *fn;
	void *arg;
};

struct loop {
	struct ev_loop *ev;
	struct loop_timer **heap; /* heap[0] is due first */
	size_t timers, heap_cap;
	uint64_t order; /* of the timer started next */
	ev_io wake;     /* the timerfd */
	uint64_t armed_ms;
	struct list tasks;
	ev_async async;
	pthread_mutex_t lock; /* of posted */
	struct list posted;
	size_t watchers; /* started by users */
	uint64_t now_ms;
	unsigned events;  /* dispatched since somebody set it to 0 */
	bool stop, awake; /* awake: now_ms holds */
};

/* By whatever comes first after waiting: the time of this wake. */
static void woken(struct loop *loop)
{
	if (loop->awake)
		return;
	loop->now_ms = clock_ms();
	loop->awake = true;
}

/* ---- timers ---- */

static bool before(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void heap_set(struct loop *loop, size_t at, struct loop_timer *timer)
{
	loop->heap[at] = timer;
	timer->slot = at + 1;
}

static void heap_up(struct loop *loop, size_t at, struct loop_timer *timer)
{
	for (; at && before(timer, loop->heap[(at - 1) / 2]); at = (at - 1) / 2)
		heap_set(loop, at, loop->heap[(at - 1) / 2]);
	heap_set(loop, at, timer);
}

static void heap_down(struct loop *loop, size_t at, struct loop_timer *timer)
{
	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < loop->timers && before(loop->heap[child + 1], loop->heap[child]))
			child++;
		if (child >= loop->timers || !before(loop->heap[child], timer))
			break;
		heap_set(loop, at, loop->heap[child]);
		at = child;
	}
	heap_set(loop, at, timer);
}

void timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_fn *fn, void *arg)
{
	*timer = (struct loop_timer){.loop = loop, .fn = fn, .arg = arg};
}

void timer_start(struct loop_timer *timer, uint64_t ms)
{
	struct loop *loop = timer->loop;

	timer_stop(timer);
	if (__builtin_add_overflow(loop_now(loop), ms, &timer->due_ms))
		timer->due_ms = UINT64_MAX;
	timer->order = loop->order++;
	if (loop->timers == loop->heap_cap) {
		loop->heap_cap = loop->heap_cap ? loop->heap_cap * 2 : 16;
		loop->heap = xrealloc(loop->heap, loop->heap_cap * sizeof(*loop->heap));
	}
	heap_up(loop, loop->timers++, timer);
}

void timer_stop(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;
	size_t at = timer->slot - 1;
	struct loop_timer *last;

	if (!timer->slot)
		return;
	timer->slot = 0;
	last = loop->heap[--loop->timers];
	if (last == timer)
		return;
	if (at && before(last, loop->heap[(at - 1) / 2]))
		heap_up(loop, at, last);
	else
		heap_down(loop, at, last);
}

bool timer_active(const struct loop_timer *timer)
{
	return timer->slot != 0;
}

/* One started with 0 ms by another's callback waits for the next wake. */
static void run_timers(struct loop *loop)
{
	uint64_t first_new = loop->order;

	while (loop->timers && !loop->stop) {
		struct loop_timer *timer = loop->heap[0];

		if (timer->due_ms > loop->now_ms || timer->order >= first_new)
			break;
		timer_stop(timer);
		timer->fn(timer->arg);
	}
}

static void arm(struct loop *loop)
{
	uint64_t due = loop->timers ? MAX(loop->heap[0]->due_ms, 1) : 0;
	struct itimerspec when = {0};

	if (due == loop->armed_ms)
		return;
	loop->armed_ms = due;
	if (due != UINT64_MAX) {
		when.it_value.tv_sec = (time_t)(due / 1000);
		when.it_value.tv_nsec = (long)(due % 1000) * 1000000;
	}
	timerfd_settime(loop->wake.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void on_wake(struct ev_loop *ev, ev_io *wake, int events)
{
	uint64_t count;

	(void)ev;
	(void)events;
	if (read(wake->fd, &count, sizeof(count)) > 0)
		container_of(wake, struct loop, wake)->armed_ms = 0;
}

/* ---- tasks and posts ---- */

void task_init(struct loop_task *task, loop_timer_fn *fn, void *arg)
{
	list_init(&task->node);
	task->fn = fn;
	task->arg = arg;
}

void task_defer(struct loop *loop, struct loop_task *task)
{
	if (list_empty(&task->node))
		list_add_tail(&loop->tasks, &task->node);
}

void task_cancel(struct loop_task *task)
{
	if (task->node.next)
		list_del(&task->node);
}

/* Those deferred by a task wait for the next wake, which comes at once. */
static void run_tasks(struct loop *loop)
{
	struct list end;

	list_add_tail(&loop->tasks, &end);
	while (loop->tasks.next != &end) {
		struct loop_task *task = container_of(loop->tasks.next, struct loop_task, node);

		list_del(&task->node);
		task->fn(task->arg);
	}
	list_del(&end);
}

void loop_post(struct loop *loop, loop_timer_fn *fn, void *arg)
{
	struct posted *posted = xmalloc(sizeof(*posted));

	posted->fn = fn;
	posted->arg = arg;
	pthread_mutex_lock(&loop->lock);
	list_add_tail(&loop->posted, &posted->node);
	pthread_mutex_unlock(&loop->lock);
	ev_async_send(loop->ev, &loop->async);
}

static struct posted *take_posted(struct loop *loop)
{
	struct posted *posted = NULL;

	pthread_mutex_lock(&loop->lock);
	if (!list_empty(&loop->posted)) {
		posted = container_of(loop->posted.next, struct posted, node);
		list_del(&posted->node);
	}
	pthread_mutex_unlock(&loop->lock);
	return posted;
}

static bool has_posted(struct loop *loop)
{
	bool some;

	pthread_mutex_lock(&loop->lock);
	some = !list_empty(&loop->posted);
	pthread_mutex_unlock(&loop->lock);
	return some;
}

static void on_async(struct ev_loop *ev, ev_async *async, int events)
{
	struct loop *loop = container_of(async, struct loop, async);
	struct posted *posted;

	(void)ev;
	(void)events;
	woken(loop);
	while ((posted = take_posted(loop))) {
		loop->events++;
		posted->fn(posted->arg);
		free(posted);
	}
}

/* ---- the loop ---- */

struct loop *loop_new(void)
{
	struct loop *loop = xcalloc(1, sizeof(*loop));
	int timer = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);

	loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	if (!loop->ev || timer < 0) {
		fputs("the event loop cannot be made: too few descriptors are allowed\n", stderr);
		abort();
	}
	signal(SIGPIPE, SIG_IGN);
	pthread_mutex_init(&loop->lock, NULL);
	list_init(&loop->tasks);
	list_init(&loop->posted);
	ev_io_init(&loop->wake, on_wake, timer, EV_READ);
	ev_io_start(loop->ev, &loop->wake);
	ev_async_init(&loop->async, on_async);
	ev_async_start(loop->ev, &loop->async);
	return loop;
}

void loop_free(struct loop *loop)
{
	struct posted *posted;

	if (!loop)
		return;
	while ((posted = take_posted(loop)))
		free(posted);
	ev_async_stop(loop->ev, &loop->async);
	ev_io_stop(loop->ev, &loop->wake);
	close(loop->wake.fd);
	ev_loop_destroy(loop->ev);
	pthread_mutex_destroy(&loop->lock);
	free(loop->heap);
	free(loop);
}

uint64_t loop_now(struct loop *loop)
{
	return loop->awake ? loop->now_ms : clock_ms();
}

static void wake_once(struct loop *loop, int flags)
{
	ev_run(loop->ev, flags);
	woken(loop);
	run_timers(loop);
	run_tasks(loop);
	loop->awake = false;
}

static bool has_work(struct loop *loop)
{
	return loop->watchers || loop->timers || !list_empty(&loop->tasks) || has_posted(loop);
}

void loop_run(struct loop *loop)
{
	loop->stop = false;
	while (!loop->stop && has_work(loop)) {
		arm(loop);
		wake_once(loop, list_empty(&loop->tasks) ? EVRUN_ONCE : EVRUN_NOWAIT);
	}
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
}

/* Everything that happens without time going on. */
static void settle(struct loop *loop)
{
	for (unsigned round = 0; round < FAKE_ROUNDS_MAX; round++) {
		loop->events = 0;
		wake_once(loop, EVRUN_NOWAIT);
		if (loop->stop || (!loop->events && list_empty(&loop->tasks) &&
				   !(loop->timers && loop->heap[0]->due_ms <= clock_ms())))
			return;
	}
	fputs("the loop does not come to rest: a watcher is ready for ever, or a timer of 0 ms\n",
	      stderr);
	abort();
}

void loop_run_fake(struct loop *loop, uint64_t ms)
{
	uint64_t end = clock_ms() + ms;

	loop->stop = false;
	settle(loop);
	while (!loop->stop && loop->timers && loop->heap[0]->due_ms <= end) {
		uint64_t now = clock_ms();

		if (loop->heap[0]->due_ms > now)
			clock_advance_fake(loop->heap[0]->due_ms - now);
		settle(loop);
	}
	if (!loop->stop && clock_ms() < end)
		clock_advance_fake(end - clock_ms());
}

/* ---- descriptors, children, signals ---- */

static void on_io(struct ev_loop *ev, ev_io *watcher, int events)
{
	struct loop_io *io = container_of(watcher, struct loop_io, ev);

	(void)ev;
	woken(io->loop);
	io->loop->events++;
	io->fn(io->arg, watcher->fd,
	       (events & EV_READ ? LOOP_READ : 0) | (events & EV_WRITE ? LOOP_WRITE : 0));
}

void io_init(struct loop_io *io, struct loop *loop, int fd, loop_io_fn *fn, void *arg)
{
	*io = (struct loop_io){.loop = loop, .fn = fn, .arg = arg};
	ev_io_init(&io->ev, on_io, fd, 0);
}

void io_start(struct loop_io *io, unsigned events)
{
	int wanted = (events & LOOP_READ ? EV_READ : 0) | (events & LOOP_WRITE ? EV_WRITE : 0);
	int fd = io->ev.fd;

	if (ev_is_active(&io->ev) && (io->ev.events & (EV_READ | EV_WRITE)) == wanted)
		return;
	io_stop(io);
	if (!wanted)
		return;
	ev_io_set(&io->ev, fd, wanted);
	ev_io_start(io->loop->ev, &io->ev);
	io->loop->watchers++;
}

void io_stop(struct loop_io *io)
{
	if (!io->loop || !ev_is_active(&io->ev))
		return;
	ev_io_stop(io->loop->ev, &io->ev);
	io->loop->watchers--;
}

static void child_look(void *arg)
{
	struct loop_child *child = arg;
	int status = 0xff00; /* somebody else waited: as if it had ended with 255 */
	pid_t pid;

	do
		pid = waitpid(child->pid, &status, WNOHANG);
	while (pid < 0 && errno == EINTR);
	if (pid == 0) {
		if (child->io.ev.fd < 0)
			timer_start(&child->poll, CHILD_POLL_MS);
		return;
	}
	child_stop(child);
	child->fn(child->arg, status);
}

static void on_child(void *arg, int fd, unsigned events)
{
	(void)fd;
	(void)events;
	child_look(arg);
}

int child_start(struct loop_child *child, struct loop *loop, pid_t pid, loop_child_fn *fn,
		void *arg)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* always close-on-exec */

	*child = (struct loop_child){0};
	if (fd < 0 && (errno != ENOSYS || kill(pid, 0) < 0))
		return -errno;
	child->pid = pid;
	child->fn = fn;
	child->arg = arg;
	io_init(&child->io, loop, fd, on_child, child);
	timer_init(&child->poll, loop, child_look, child);
	if (fd >= 0)
		io_start(&child->io, LOOP_READ);
	else
		timer_start(&child->poll, CHILD_POLL_MS);
	return 0;
}

void child_stop(struct loop_child *child)
{
	if (!child->pid)
		return;
	io_stop(&child->io);
	timer_stop(&child->poll);
	if (child->io.ev.fd >= 0)
		close(child->io.ev.fd);
	child->pid = 0;
}

static void on_signal(struct ev_loop *ev, ev_signal *watcher, int events)
{
	struct loop_signal *sig = container_of(watcher, struct loop_signal, ev);

	(void)ev;
	(void)events;
	woken(sig->loop);
	sig->loop->events++;
	sig->fn(sig->arg, watcher->signum);
}

void signal_start(struct loop_signal *sig, struct loop *loop, int signo, loop_signal_fn *fn,
		  void *arg)
{
	*sig = (struct loop_signal){.loop = loop, .fn = fn, .arg = arg};
	ev_signal_init(&sig->ev, on_signal, signo);
	ev_signal_start(loop->ev, &sig->ev);
	loop->watchers++;
}

void signal_stop(struct loop_signal *sig)
{
	if (!sig->loop || !ev_is_active(&sig->ev))
		return;
	ev_signal_stop(sig->loop->ev, &sig->ev);
	sig->loop->watchers--;
}
