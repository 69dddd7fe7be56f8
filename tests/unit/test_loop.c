#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *loop;
static char record[256]; /* what ran, a letter each */
static char letters[] = "abcdefghijklmnopqrstuvwxyz";
#define LETTER(letter) (&letters[(letter) - 'a'])

static void note(char letter)
{
	size_t len = strlen(record);

	assert_true(len + 1 < sizeof(record));
	record[len] = letter;
	record[len + 1] = 0;
}

static void assert_record(const char *expected)
{
	assert_string_equal(record, expected);
	record[0] = 0;
}

static int set_up(void **state)
{
	(void)state;
	record[0] = 0;
	loop = loop_new();
	return 0;
}

static int set_up_fake(void **state)
{
	clock_set_fake(1000, 1700000000000);
	return set_up(state);
}

static int tear_down(void **state)
{
	(void)state;
	loop_free(loop);
	clock_set_fake(0, 0);
	return 0;
}

static void note_arg(void *arg)
{
	note(*(const char *)arg);
}

/* ---- timers ---- */

static void timers_in_order(void **state)
{
	struct loop_timer timers[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		timer_init(&timers[i], loop, note_arg, LETTER('a' + i));
	timer_start(&timers[0], 300);
	timer_start(&timers[1], 100);
	timer_start(&timers[2], 200);
	timer_start(&timers[3], 200); /* after c: started after it */
	loop_run_fake(loop, 99);
	assert_record("");
	loop_run_fake(loop, 1);
	assert_record("b");
	loop_run_fake(loop, 1000);
	assert_record("cda");
	assert_int_equal(clock_ms(), 1000 + 1100);
	loop_run_fake(loop, 10000);
	assert_record("");
}

static void timer_moved_and_stopped(void **state)
{
	struct loop_timer a, b;

	(void)state;
	timer_init(&a, loop, note_arg, LETTER('a'));
	timer_init(&b, loop, note_arg, LETTER('b'));
	assert_false(timer_active(&a));
	timer_stop(&a);
	timer_start(&a, 10);
	assert_true(timer_active(&a));
	timer_start(&b, 20);
	timer_start(&a, 30); /* moved */
	loop_run_fake(loop, 25);
	assert_record("b");
	timer_stop(&a);
	timer_stop(&a);
	assert_false(timer_active(&a));
	loop_run_fake(loop, 100);
	assert_record("");
	timer_start(&a, UINT64_MAX); /* never, and no overflow */
	loop_run_fake(loop, 100);
	assert_record("");
	timer_stop(&a);
}

struct ticker {
	struct loop_timer timer;
	uint64_t seen[8];
	unsigned count;
};

static void tick(void *arg)
{
	struct ticker *ticker = arg;

	assert_false(timer_active(&ticker->timer));
	ticker->seen[ticker->count++] = loop_now(loop);
	if (ticker->count < 5)
		timer_start(&ticker->timer, 1000);
}

static void period_on_the_fake_clock(void **state)
{
	struct ticker ticker = {0};

	(void)state;
	timer_init(&ticker.timer, loop, tick, &ticker);
	timer_start(&ticker.timer, 1000);
	loop_run_fake(loop, 3500);
	assert_int_equal(ticker.count, 3);
	loop_run_fake(loop, 100000);
	assert_int_equal(ticker.count, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(ticker.seen[i], 1000 + (i + 1) * 1000);
}

/* Random starts, moves and stops against a sorted truth. */
static void heap_against_a_model(void **state)
{
	enum { COUNT = 200 };
	static struct loop_timer timers[COUNT];
	uint64_t due[COUNT] = {0}, last = 0;
	char nothing = 'x';

	(void)state;
	srand(7);
	for (int i = 0; i < COUNT; i++)
		timer_init(&timers[i], loop, note_arg, &nothing);
	for (int step = 0; step < 20000; step++) {
		int i = rand() % COUNT;
		uint64_t ms = (uint64_t)(rand() % 1000 + 1), first = UINT64_MAX;

		if (rand() % 3) {
			timer_start(&timers[i], ms);
			due[i] = clock_ms() + ms;
		} else {
			timer_stop(&timers[i]);
			due[i] = 0;
		}
		for (int n = 0; n < COUNT; n++) {
			assert_int_equal(timer_active(&timers[n]), due[n] != 0);
			if (due[n])
				first = MIN(first, due[n]);
		}
		if (first != UINT64_MAX && rand() % 50 == 0) {
			size_t before = 0, after = 0;

			assert_true(first >= last);
			loop_run_fake(loop, first - clock_ms());
			last = first;
			for (int n = 0; n < COUNT; n++) {
				before += due[n] == first;
				if (due[n] == first)
					due[n] = 0;
			}
			after = strlen(record);
			assert_int_equal(after, before);
			record[0] = 0;
		}
	}
	for (int i = 0; i < COUNT; i++)
		timer_stop(&timers[i]);
}

struct pair {
	struct loop_timer *own, *other;
};

static void free_both(void *arg)
{
	struct pair *pair = arg;

	note('f');
	timer_stop(pair->other);
	free(pair->other);
	free(pair->own);
	free(pair);
}

static void timer_frees_itself_and_another(void **state)
{
	struct pair *pair = xmalloc(sizeof(*pair));

	(void)state;
	pair->own = xmalloc(sizeof(*pair->own));
	pair->other = xmalloc(sizeof(*pair->other));
	timer_init(pair->own, loop, free_both, pair);
	timer_init(pair->other, loop, note_arg, LETTER('x'));
	timer_start(pair->own, 10);
	timer_start(pair->other, 10); /* due in the same wake */
	loop_run_fake(loop, 100);
	assert_record("f");
}

static void restart_twice_at_once(void *arg)
{
	struct ticker *ticker = arg;

	note('t');
	if (++ticker->count < 3)
		timer_start(&ticker->timer, 0);
}

static void timers_of_zero(void **state)
{
	struct ticker ticker = {0};
	struct loop_task task;

	(void)state;
	timer_init(&ticker.timer, loop, restart_twice_at_once, &ticker);
	task_init(&task, note_arg, LETTER('k'));
	timer_start(&ticker.timer, 0);
	task_defer(loop, &task);
	loop_run_fake(loop, 0);
	assert_record("tktt"); /* the restarted one waits for the next wake */
	assert_int_equal(clock_ms(), 1000);
}

static void real_timers_end_the_loop(void **state)
{
	struct loop_timer a, b;
	uint64_t start = clock_ms();

	(void)state;
	timer_init(&a, loop, note_arg, LETTER('a'));
	timer_init(&b, loop, note_arg, LETTER('b'));
	timer_start(&b, 30);
	timer_start(&a, 10);
	loop_run(loop); /* until nothing is left */
	assert_record("ab");
	assert_true(clock_ms() >= start + 30);
	loop_run(loop);
	assert_record("");
}

/* ---- descriptors ---- */

struct reader {
	struct loop_io io, *victim;
	char letter;
};

static void on_read(void *arg, int fd, unsigned events)
{
	struct reader *reader = arg;
	char byte;

	assert_int_equal(events, LOOP_READ);
	assert_int_equal(read(fd, &byte, 1), 1);
	note(reader->letter);
	if (byte == '!') {
		io_stop(&reader->io);
		io_stop(reader->victim);
	}
}

static void reads_and_stops(void **state)
{
	int fds[2];
	struct reader reader = {.letter = 'r'};

	(void)state;
	reader.victim = &reader.io;
	io_stop(&reader.io); /* all zero */
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	io_init(&reader.io, loop, fds[0], on_read, &reader);
	io_start(&reader.io, LOOP_READ);
	loop_run_fake(loop, 10);
	assert_record("");
	assert_int_equal(write(fds[1], "ab", 2), 2);
	loop_run_fake(loop, 0);
	assert_record("rr");
	assert_int_equal(write(fds[1], "!c", 2), 2);
	loop_run_fake(loop, 0);
	assert_record("r");
	io_start(&reader.io, LOOP_READ);
	io_start(&reader.io, LOOP_READ); /* twice is once */
	loop_run_fake(loop, 0);
	assert_record("r");
	io_start(&reader.io, 0);
	loop_run(loop); /* nothing is left */
	close(fds[0]);
	close(fds[1]);
}

/* Both are ready in one wake; whichever runs first stops the other, which must not run. */
static void one_stops_the_other(void **state)
{
	int fds[2][2];
	struct reader readers[2] = {{.letter = 'r'}, {.letter = 'r'}};

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pipe2(fds[i], O_CLOEXEC | O_NONBLOCK), 0);
		readers[i].victim = &readers[!i].io;
		io_init(&readers[i].io, loop, fds[i][0], on_read, &readers[i]);
		io_start(&readers[i].io, LOOP_READ);
		assert_int_equal(write(fds[i][1], "!", 1), 1);
	}
	loop_run(loop);
	assert_record("r");
	for (int i = 0; i < 2; i++) {
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

struct doomed {
	struct loop_io io;
	struct doomed **other;
};

static void free_all(void *arg, int fd, unsigned events)
{
	struct doomed *own = arg, *other = *own->other;

	(void)fd;
	(void)events;
	note('d');
	io_stop(&own->io);
	io_stop(&other->io);
	close(own->io.ev.fd);
	close(other->io.ev.fd);
	free(other);
	free(own);
}

static void io_freed_while_pending(void **state)
{
	struct doomed *both[2];
	int writers[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		int fds[2];

		assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
		writers[i] = fds[1];
		both[i] = xcalloc(1, sizeof(*both[i]));
		both[i]->other = &both[!i];
		io_init(&both[i]->io, loop, fds[0], free_all, both[i]);
		io_start(&both[i]->io, LOOP_READ);
		assert_int_equal(write(fds[1], "x", 1), 1);
	}
	loop_run(loop);
	assert_record("d");
	close(writers[0]);
	close(writers[1]);
}

static void on_either(void *arg, int fd, unsigned events)
{
	struct loop_io *io = arg;
	char byte;

	if (events & LOOP_READ) {
		assert_int_equal(read(fd, &byte, 1), 1);
		note('r');
		io_start(io, LOOP_WRITE);
	}
	if (events & LOOP_WRITE) {
		note('w');
		io_start(io, LOOP_READ);
	}
}

static void events_change(void **state)
{
	struct loop_io io;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	io_init(&io, loop, fds[0], on_either, &io);
	io_start(&io, LOOP_READ);
	assert_int_equal(write(fds[1], "x", 1), 1);
	loop_run_fake(loop, 0);
	assert_record("rw");
	io_stop(&io);
	close(fds[0]);
	close(fds[1]);
}

/* ---- tasks ---- */

struct again {
	struct loop_task task, *cancel;
	int left;
};

static void defer_again(void *arg)
{
	struct again *again = arg;

	note('g');
	if (again->cancel)
		task_cancel(again->cancel);
	if (again->left-- > 0)
		task_defer(loop, &again->task);
}

static void tasks(void **state)
{
	struct loop_task once, zero = {0};
	struct again again = {.left = 2};

	(void)state;
	task_cancel(&zero);
	task_init(&once, note_arg, LETTER('o'));
	task_init(&again.task, defer_again, &again);
	task_cancel(&once);
	task_defer(loop, &once);
	task_defer(loop, &once);
	loop_run(loop);
	assert_record("o");
	task_defer(loop, &again.task);
	task_defer(loop, &once);
	loop_run(loop);
	assert_record("gogg"); /* deferred by a task: the next wake */
	again.cancel = &once;
	task_defer(loop, &again.task);
	task_defer(loop, &once);
	loop_run(loop);
	assert_record("g");
}

static void defer_arg(void *arg)
{
	note('t');
	task_defer(loop, arg);
}

static void task_comes_after_timers(void **state)
{
	struct loop_timer first, second;
	struct loop_task task;

	(void)state;
	task_init(&task, note_arg, LETTER('k'));
	timer_init(&first, loop, defer_arg, &task);
	timer_init(&second, loop, defer_arg, &task);
	timer_start(&first, 5);
	timer_start(&second, 5);
	loop_run_fake(loop, 5);
	assert_record("ttk");
}

/* ---- posts, signals, stop ---- */

static void stop_loop(void *arg)
{
	(void)arg;
	note('s');
	loop_stop(loop);
}

static void *poster(void *arg)
{
	for (int i = 0; i < 100; i++)
		loop_post(loop, note_arg, arg);
	loop_post(loop, stop_loop, NULL);
	return NULL;
}

static void never(void *arg, int fd, unsigned events)
{
	(void)arg;
	(void)fd;
	(void)events;
	fail();
}

static void posts_from_a_thread(void **state)
{
	struct loop_io keep;
	pthread_t thread;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	io_init(&keep, loop, fds[0], never, NULL);
	io_start(&keep, LOOP_READ);
	assert_int_equal(pthread_create(&thread, NULL, poster, LETTER('p')), 0);
	loop_run(loop);
	pthread_join(thread, NULL);
	assert_int_equal(strlen(record), 101);
	assert_int_equal(strspn(record, "p"), 100);
	loop_post(loop, note_arg, LETTER('x')); /* freed with the loop, never run */
	io_stop(&keep);
	close(fds[0]);
	close(fds[1]);
}

static void posts_alone_keep_the_loop(void **state)
{
	(void)state;
	loop_post(loop, note_arg, LETTER('a'));
	loop_post(loop, note_arg, LETTER('b'));
	loop_run(loop);
	assert_record("ab");
}

static void on_usr1(void *arg, int signo)
{
	assert_int_equal(signo, SIGUSR1);
	note('u');
	signal_stop(arg);
}

static void signals(void **state)
{
	struct loop_signal sig = {0};

	(void)state;
	signal_stop(&sig);
	signal_start(&sig, loop, SIGUSR1, on_usr1, &sig);
	kill(getpid(), SIGUSR1);
	loop_run(loop);
	assert_record("u");
	assert_true(signal(SIGPIPE, SIG_IGN) == SIG_IGN); /* loop_new saw to it */
}

static void stop_ends_a_run(void **state)
{
	struct loop_timer stop, after;

	(void)state;
	timer_init(&stop, loop, stop_loop, NULL);
	timer_init(&after, loop, note_arg, LETTER('a'));
	timer_start(&stop, 1);
	timer_start(&after, 1);
	loop_run(loop);
	assert_record("s");
	loop_run(loop);
	assert_record("a");
}

/* ---- children ---- */

static void on_exit_code(void *arg, int status)
{
	*(int *)arg = status;
	note('c');
}

static pid_t spawn(int code)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(code);
	assert_true(pid > 0);
	return pid;
}

static void children(void **state)
{
	struct loop_child one, two, zero = {0};
	int status[2];
	pid_t killed = fork();

	(void)state;
	if (killed == 0) {
		pause();
		_exit(0);
	}
	child_stop(&zero);
	assert_int_equal(child_start(&one, loop, spawn(7), on_exit_code, &status[0]), 0);
	assert_int_equal(child_start(&two, loop, killed, on_exit_code, &status[1]), 0);
	kill(killed, SIGKILL);
	loop_run(loop);
	assert_record("cc");
	assert_true(WIFEXITED(status[0]) && WEXITSTATUS(status[0]) == 7);
	assert_true(WIFSIGNALED(status[1]) && WTERMSIG(status[1]) == SIGKILL);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_true(child_start(&one, loop, killed, on_exit_code, NULL) < 0);
	child_stop(&one);
}

static void child_left_alone(void **state)
{
	struct loop_child child;
	int status;
	pid_t pid = spawn(3);

	(void)state;
	assert_int_equal(child_start(&child, loop, pid, on_exit_code, &status), 0);
	child_stop(&child);
	loop_run(loop);
	assert_record("");
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define FAKE(test) cmocka_unit_test_setup_teardown(test, set_up_fake, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAKE(timers_in_order),
		FAKE(timer_moved_and_stopped),
		FAKE(period_on_the_fake_clock),
		FAKE(heap_against_a_model),
		FAKE(timer_frees_itself_and_another),
		FAKE(timers_of_zero),
		REAL(real_timers_end_the_loop),
		FAKE(reads_and_stops),
		REAL(one_stops_the_other),
		REAL(io_freed_while_pending),
		FAKE(events_change),
		REAL(tasks),
		FAKE(task_comes_after_timers),
		REAL(posts_from_a_thread),
		REAL(posts_alone_keep_the_loop),
		REAL(signals),
		REAL(stop_ends_a_run),
		REAL(children),
		REAL(child_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
