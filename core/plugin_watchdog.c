/*
 * plugin_watchdog.c - ends the agent when a plugin hangs it.
 *
 * A timer that signals the loop's own thread; it is armed by the first call and then only looks
 * every 5 s whether a call has been running all the time, so that an ordinary call costs two reads
 * of the clock and no system call. The tricky thing is time that was not the plugin's: after SIGSTOP
 * and SIGCONT an innocent call looks old, so a call is found guilty only if it is still the same one
 * a moment later.
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

/* Written on the loop's thread and read by its signal handler. */
static struct {
	bool open;
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

/* In the signal handler: async-signal-safe functions only. */
static _Noreturn void convict(void)
{
	int fd = open(watchdog.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0) {
		put(fd, watchdog.label);
		put(fd, "\n");
		close(fd);
	}
	put(STDERR_FILENO, "wg-meshd: error plugin-hung plugin=");
	put(STDERR_FILENO, watchdog.label);
	put(STDERR_FILENO, " reason=\"it hung for 5 s; ending, and coming back without it\"\n");
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
		convict();
	} else {
		watchdog.suspect = current;
		look_in(MOMENT_MS);
	}
	errno = saved;
}

void plugin_watchdog_open(const char *path)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 3};

	if (watchdog.open || !str_copy(watchdog.path, sizeof(watchdog.path), path))
		return;
	sigemptyset(&action.sa_mask);
	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
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

bool plugin_watchdog_hung(const char *path, const char *label, const char *plugin_path)
{
	struct buf text = {.limit = 65536};
	struct stat record, file;
	size_t len = strlen(label);
	bool found = false;

	if (!path || file_read(path, 65536, &text))
		return false;
	for (const char *line = buf_text(&text); *line && !found; line += strcspn(line, "\n"),
			line += *line == '\n')
		found = !strncmp(line, label, len) && line[len] == '\n';
	buf_free(&text);
	/* A plugin that was installed since then gets its chance. */
	if (found && !stat(path, &record) && !stat(plugin_path, &file))
		found = file.st_ctim.tv_sec <= record.st_mtim.tv_sec;
	return found;
}
