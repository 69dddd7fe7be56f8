/*
 * plugin_watchdog.c - ends the agent when a plugin hangs it, and remembers who hung, crashed or left it.
 *
 * A timer that signals the loop's own thread; it is armed by the first call and then only looks
 * every 5 s whether a call has been running all the time, so that an ordinary call costs two reads
 * of the clock and no system call. The tricky thing is time that was not the plugin's: after SIGSTOP
 * and SIGCONT an innocent call looks old, so a call is found guilty only if it is still the same one
 * a moment later.
 *
 * A crash during a call is the plugin's, unless another thread had it. The handler has a stack of its
 * own, for the plugin's may be what ran out; it writes the name down and lets the signal do its work.
 */
#include "plugin_watchdog.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define LIMIT_MS  5000
#define MOMENT_MS 200
#define SLOW_MS   50
#define STACK     ((size_t)64 * 1024)

/* Written on the loop's thread and read by its signal handler. */
static struct {
	bool open;
	pid_t thread;
	timer_t timer;
	char path[300];
	atomic_bool armed;
	atomic_uint current; /* number of the running call; 0: none */
	const char *volatile label;
	volatile uint64_t began;
	unsigned last, suspect;
} watchdog;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void look_in(uint64_t ms)
{
	const struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000) + 1}};

	timer_settime(watchdog.timer, 0, &when, NULL);
}

static void put(int fd, const char *text)
{
	ssize_t ignored = write(fd, text, strlen(text));

	(void)ignored;
}

static void put_number(int fd, unsigned long long number)
{
	char text[24], *at = text + sizeof(text) - 1;

	*at = '\0';
	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	put(fd, at);
}

/* In signal handlers: async-signal-safe functions only. */
static void write_down(const char *words)
{
	int fd = open(watchdog.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct timespec now = {0};

	clock_gettime(CLOCK_REALTIME, &now);
	if (fd >= 0) {
		put(fd, watchdog.label);
		put(fd, " ");
		put_number(fd, (unsigned long long)now.tv_sec);
		put(fd, " ");
		put(fd, words);
		put(fd, "\n");
		close(fd);
	}
	put(STDERR_FILENO, "wg-meshd: error plugin-fault plugin=");
	put(STDERR_FILENO, watchdog.label);
	put(STDERR_FILENO, " reason=\"it ");
	put(STDERR_FILENO, words);
	put(STDERR_FILENO, ", which comes back without it\"\n");
}

static const struct {
	int signo;
	const char *words;
} crashes[] = {
	{SIGSEGV, "crashed the agent (SIGSEGV)"}, {SIGBUS, "crashed the agent (SIGBUS)"},
	{SIGFPE, "crashed the agent (SIGFPE)"},	  {SIGILL, "crashed the agent (SIGILL)"},
	{SIGABRT, "crashed the agent (SIGABRT)"},
};

/* Its own action is the default again by now (SA_RESETHAND). */
static void on_crash(int signo)
{
	if (atomic_load(&watchdog.current) && (pid_t)syscall(SYS_gettid) == watchdog.thread)
		for (size_t i = 0; i < ARRAY_SIZE(crashes); i++)
			if (crashes[i].signo == signo)
				write_down(crashes[i].words);
	raise(signo); /* delivered when this returns */
}

/* exit() in a plugin would look like an agent that was told to end. */
static void on_exit_within(void)
{
	if (!atomic_load(&watchdog.current) || (pid_t)syscall(SYS_gettid) != watchdog.thread)
		return;
	write_down("made the agent exit");
	_exit(1);
}

static void on_signal(int signo)
{
	unsigned current = atomic_load(&watchdog.current);
	uint64_t age = now_ms() - watchdog.began;
	int saved = errno;

	(void)signo;
	if (!current) {
		atomic_store(&watchdog.armed, false);
	} else if (age < LIMIT_MS) {
		look_in(LIMIT_MS - age);
	} else if (current == watchdog.suspect) {
		write_down("hung the agent for 5 s");
		_exit(1);
	} else {
		watchdog.suspect = current;
		look_in(MOMENT_MS);
	}
	errno = saved;
}

static void catch_crashes(void)
{
	static char room[STACK];
	const stack_t stack = {.ss_sp = room, .ss_size = sizeof(room)};
	struct sigaction action = {.sa_handler = on_crash,
				   .sa_flags = SA_ONSTACK | (int)SA_RESETHAND};

	sigaltstack(&stack, NULL);
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(crashes); i++)
		sigaction(crashes[i].signo, &action, NULL);
}

void plugin_watchdog_open(const char *path)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 3};
	pid_t thread = (pid_t)syscall(SYS_gettid);

	if (thread == watchdog.thread || !str_copy(watchdog.path, sizeof(watchdog.path), path))
		return;
	if (!watchdog.thread)
		atexit(on_exit_within);
	watchdog.open = false; /* a child by fork has no timer */
	atomic_store(&watchdog.armed, false);
	watchdog.thread = event.sigev_notify_thread_id = thread;
	sigemptyset(&action.sa_mask);
	catch_crashes();
	if (sigaction(event.sigev_signo, &action, NULL) ||
	    timer_create(CLOCK_MONOTONIC, &event, &watchdog.timer)) {
		log_warn("plugin-watchdog", "reason=\"no timer: %s; a plugin that hangs is not noticed\"",
			 strerror(errno));
		return;
	}
	watchdog.open = true;
}

void plugin_call_begin(struct plugin_call *call, const char *label)
{
	call->outer = atomic_load(&watchdog.current);
	call->outer_label = watchdog.label;
	call->outer_began = watchdog.began;
	call->label = label;
	call->began = now_ms();
	watchdog.label = label;
	watchdog.began = call->began;
	if (!++watchdog.last)
		watchdog.last = 1;
	atomic_store(&watchdog.current, watchdog.last);
	if (watchdog.open && !atomic_load(&watchdog.armed)) {
		atomic_store(&watchdog.armed, true);
		look_in(LIMIT_MS);
	}
}

void plugin_call_end(const struct plugin_call *call)
{
	uint64_t took = now_ms() - call->began;

	atomic_store(&watchdog.current, 0);
	watchdog.label = call->outer_label;
	watchdog.began = call->outer_began;
	atomic_store(&watchdog.current, call->outer);
	if (took >= SLOW_MS)
		log_warn("plugin-slow", "plugin=%s ms=%llu reason=\"a call kept the agent waiting\"",
			 call->label, (unsigned long long)took);
}

/* "LABEL SECONDS WORDS\n" of this label: the words, and when. */
static bool read_fault(const char *line, const char *label, uint64_t *when, char words[static PLUGIN_FAULT])
{
	size_t len = strlen(label);
	char *end;

	if (strncmp(line, label, len) != 0 || line[len] != ' ')
		return false;
	*when = strtoull(line + len, &end, 10);
	end += strspn(end, " ");
	snprintf(words, PLUGIN_FAULT, "%.*s", (int)strcspn(end, "\n"), end);
	return true;
}

bool plugin_watchdog_guilty(const char *path, const char *label, const char *plugin_path,
			    char words[static PLUGIN_FAULT])
{
	struct buf text = {.limit = 65536};
	uint64_t when = 0;
	bool found = false;
	struct stat file;

	if (!path || file_read(path, 65536, &text))
		return false;
	for (const char *line = buf_text(&text); *line;
	     line += strcspn(line, "\n"), line += *line == '\n')
		found |= read_fault(line, label, &when, words); /* the last counts */
	buf_free(&text);
	/* A plugin that was installed since then gets its chance. */
	if (found && !stat(plugin_path, &file))
		found = (uint64_t)file.st_ctim.tv_sec <= when;
	return found;
}
