/*
 * run.c - posix_spawn with memory files for 0, 1 and 2, then a wait on the child's pidfd. The
 * tricky thing: whoever runs us may have left descriptors open (wg-quick's pipes); they are marked
 * close-on-exec before a child is made.
 */
#include "run.h"
#include "lib/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAP_MS     2
#define OUTPUT_MAX ((size_t)1024 * 1024)

static int memory_file(const void *data, size_t len)
{
	int fd = memfd_create("wg-mesh", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0) {
			close(fd);
			return -EIO;
		}
		data = (const char *)data + n;
		len -= (size_t)n;
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void read_back(int fd, struct buf *out)
{
	off_t at = 0;
	uint8_t *room;
	ssize_t n;

	while ((room = buf_reserve(out, 4096)) && (n = pread(fd, room, 4096, at)) > 0) {
		out->len += (size_t)n;
		at += n;
	}
}

static int spawn(const struct run *run, const int fds[3], pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int error;

	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&actions, fds[i], i);
	error = posix_spawnp(pid, run->argv[0], &actions, &attributes,
			     (char **)(uintptr_t)run->argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -error;
}

/* Without pidfds (an old kernel, valgrind) it is asked for again and again. */
bool run_wait(pid_t pid, int timeout_ms, int *status)
{
	struct pollfd poller = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	uint64_t end = clock_ms() + (uint64_t)timeout_ms, now;
	bool ended;

	while (!(ended = waitpid(pid, status, WNOHANG) == pid) && (now = clock_ms()) < end)
		poll(&poller, 1, poller.fd < 0 ? NAP_MS : (int)(end - now));
	if (poller.fd >= 0)
		close(poller.fd);
	return ended;
}

static int wait_for(pid_t pid, const struct run *run, struct run_result *result)
{
	int status = 0, error = 0;

	if (!run_wait(pid, (int)run->timeout_ms, &status)) {
		if (run->leave_running)
			return -ETIMEDOUT;
		kill(-pid, SIGKILL);
		waitpid(pid, &status, 0);
		error = -ETIMEDOUT;
	}
	result->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return error;
}

int run_program(const struct run *run, struct run_result *result)
{
	int fds[3] = {-1, -1, -1}, error = 0;
	pid_t pid;

	*result = (struct run_result){0};
	buf_init(&result->output, OUTPUT_MAX);
	buf_init(&result->errors, OUTPUT_MAX);
	syscall(SYS_close_range, 3u, ~0u, 1u << 2 /* CLOSE_RANGE_CLOEXEC */);
	for (int i = 0; i < 3 && !error; i++) {
		fds[i] = memory_file(i == 0 ? run->input : NULL, i == 0 ? run->input_len : 0);
		error = fds[i] < 0 ? fds[i] : 0;
	}
	if (!error)
		error = spawn(run, fds, &pid);
	if (!error) {
		error = wait_for(pid, run, result);
		read_back(fds[1], &result->output);
		read_back(fds[2], &result->errors);
	}
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	result->error = error;
	return error;
}

void run_fini(struct run_result *result)
{
	buf_wipe(&result->output);
	buf_wipe(&result->errors);
}

const char *run_last_line(struct run_result *result)
{
	char *text = buf_text(&result->errors), *end = text + strlen(text), *line;

	while (end > text && (end[-1] == '\n' || end[-1] == ' '))
		*--end = '\0';
	line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

void run_print_errors(struct run_result *result)
{
	char *at = buf_text(&result->errors), *line;

	while ((line = strsep(&at, "\n")))
		if (*line)
			fprintf(stderr, "    %s\n", line);
}

const char *run_agent_path(void)
{
	static const char *const beside[] = {"wg-meshd", "../sbin/wg-meshd"};
	static char path[4200];
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (len > 0) {
		self[len] = '\0';
		slash = strrchr(self, '/');
		slash[1] = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
			snprintf(path, sizeof(path), "%s%s", self, beside[i]);
			if (access(path, F_OK) == 0)
				return path;
		}
	}
	return WG_MESH_SBINDIR "/wg-meshd";
}
