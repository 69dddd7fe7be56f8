/*
 * agent_end.c - ends an agent that does not answer. The tricky thing: a process id may have been
 * given to a stranger since it was written down. So a pidfd is opened first, then what runs under
 * that id is looked at, then the signal goes to the pidfd: it cannot reach anybody else.
 */
#include "agent.h"
#include "lib/daemon.h"
#include "lib/file.h"
#include "lib/str.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROGRAM    "wg-meshd"
#define END_MS     100
#define NAP_MS     10
#define ROUNDS     3
#define PROC_LIMIT 65536

uint64_t agent_netns(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static bool runs_agent_program(pid_t pid)
{
	char path[64], target[4096];
	const char *name;
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	len = readlink(path, target, sizeof(target) - 1);
	if (len <= 0)
		return false;
	target[len] = '\0';
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	/* An upgraded one reads "wg-meshd (deleted)"; under valgrind the tool is what runs. */
	return strcmp(name, PROGRAM) == 0 || str_has_prefix(name, PROGRAM " ") ||
	       str_has_prefix(name, "memcheck-");
}

/* Its arguments name the program and the interface. */
static bool started_for(pid_t pid, const char *interface)
{
	bool program = false, found = false;
	struct buf text;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	buf_init(&text, PROC_LIMIT);
	if (file_read(path, PROC_LIMIT, &text) == 0) {
		const char *word = buf_text(&text), *end = word + text.len;

		for (; word < end; word += strlen(word) + 1) {
			const char *slash = strrchr(word, '/');

			if (program && strcmp(word, interface) == 0)
				found = true;
			program = program || strcmp(slash ? slash + 1 : word, PROGRAM) == 0;
		}
	}
	buf_free(&text);
	return found;
}

static pid_t parent_of(pid_t pid)
{
	struct buf text;
	char path[64], *after;
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	buf_init(&text, PROC_LIMIT);
	if (file_read(path, PROC_LIMIT, &text) == 0) {
		after = strrchr(buf_text(&text), ')'); /* the name before it may hold anything */
		if (after && sscanf(after + 1, " %*c %d", &parent) != 1)
			parent = 0;
	}
	buf_free(&text);
	return parent;
}

static void end_one(const struct cli *cli, pid_t pid)
{
	struct pollfd poller = {.events = POLLIN};

	if (pid <= 1 || pid == getpid())
		return;
	poller.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (poller.fd < 0)
		return;
	if (runs_agent_program(pid) && started_for(pid, cli->interface) &&
	    agent_netns(pid) == netns_id() &&
	    syscall(SYS_pidfd_send_signal, poller.fd, SIGKILL, NULL, 0) == 0)
		poll(&poller, 1, END_MS);
	close(poller.fd);
}

void agent_wait_gone(pid_t pid, int timeout_ms)
{
	struct pollfd poller = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

	for (; poller.fd < 0 && errno == ENOSYS && timeout_ms > 0 && kill(pid, 0) == 0;
	     timeout_ms -= NAP_MS)
		poll(NULL, 0, NAP_MS);
	if (poller.fd < 0)
		return;
	poll(&poller, 1, timeout_ms);
	close(poller.fd);
}

static pid_t from_pid_file(const struct cli *cli)
{
	struct buf text;
	int pid = 0;

	buf_init(&text, 256);
	if (file_read(cli->paths.pid, 200, &text) == 0 && sscanf(buf_text(&text), "%d", &pid) != 1)
		pid = 0;
	buf_free(&text);
	return pid;
}

void agent_end(const struct cli *cli, pid_t pid)
{
	pid_t written = from_pid_file(cli);

	if (pid > 1)
		end_one(cli, parent_of(pid)); /* a supervisor would start it again */
	end_one(cli, written);
	end_one(cli, pid);
	/* Another may have waited for that one's end. */
	for (int i = 0; i < ROUNDS && (written = daemon_holder(cli->paths.pid)); i++) {
		end_one(cli, written);
		poll(NULL, 0, NAP_MS);
	}
	if (!written)
		unlink(cli->paths.pid);
}
