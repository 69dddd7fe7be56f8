/*
 * subject.c - the coordinator under test: a state directory of its own, started, killed, measured
 * by what /proc says of it. Its log goes to the directory.
 */
#include "bench.h"
#include "lib/file.h"
#include "lib/sock.h"
#include "lib/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 3000 /* of 10 ms */

static const char configuration[] =
	"listen: %s\nstate: %s/state\nrun_dir: %s/run\nrelay: {embedded: false}\n"
	"limits: {connections: 100000, connections_per_address: 100000, requests_per_address: 100000}\n"
	"%s%s\n";

/* All coordinators on one database have one server key. */
static int take_key(const struct subject *subject, const struct subject *first)
{
	char *from = xasprintf("%s/state/server.key", first->dir), *dir = xasprintf("%s/state", subject->dir);
	char *to = xasprintf("%s/server.key", dir);
	struct buf key;
	int result;

	buf_init(&key, 1024);
	result = file_read(from, 1024, &key);
	if (!result)
		result = mkdir(dir, 0700) ? -errno : file_write_atomic(to, key.data, key.len, 0600);
	buf_wipe(&key);
	free(from);
	free(dir);
	free(to);
	return result;
}

int subject_make(struct subject *subject, const char *program, const char *database,
		 const struct subject *first)
{
	char dir[] = "/tmp/wg-mesh-bench.XXXXXX", at[ENDPOINT_TEXT];
	struct endpoint any = {.addr = {.family = AF_INET, .bytes = {127, 0, 0, 1}}};
	int fd = sock_listen_tcp(&any), result;
	char *path, *text;

	if (fd < 0 || !mkdtemp(dir))
		return -errno;
	sock_local(fd, &subject->at);
	close(fd);
	endpoint_format(at, &subject->at);
	subject->program = program;
	subject->dir = xstrdup(dir);
	subject->origin = xasprintf("https://%s", at);
	path = xasprintf("%s/coordinator.yaml", dir);
	text = xasprintf(configuration, at, dir, dir, database ? "db: " : "", database ? database : "");
	result = file_write_atomic(path, text, strlen(text), 0600);
	if (!result && first)
		result = take_key(subject, first);
	free(path);
	free(text);
	return result;
}

static bool takes_connections(const struct subject *subject)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(subject->at.port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof(to));

	if (fd >= 0)
		close(fd);
	return ok;
}

int subject_start(struct subject *subject)
{
	char *config = xasprintf("%s/coordinator.yaml", subject->dir);
	char *log = xasprintf("%s/log", subject->dir);

	subject->pid = fork();
	if (!subject->pid) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		dup2(fd, 1);
		dup2(fd, 2);
		execl(subject->program, subject->program, "serve", "--config", config, (char *)NULL);
		_exit(127);
	}
	free(config);
	free(log);
	for (int i = 0; i < START_TRIES; i++) {
		if (takes_connections(subject))
			return 0;
		if (waitpid(subject->pid, NULL, WNOHANG) == subject->pid)
			break;
		nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
	}
	fprintf(stderr, "bench: %s does not start: see %s/log\n", subject->program, subject->dir);
	return -1;
}

void subject_kill(struct subject *subject)
{
	if (!subject->pid)
		return;
	kill(subject->pid, SIGKILL);
	waitpid(subject->pid, NULL, 0);
	subject->pid = 0;
}

/* Administration: a line of JSON asks, a line answers. NULL, and a sentence, where it failed. */
static json_t *administer(const struct subject *subject, json_t *request)
{
	char *path = xasprintf("%s/run/coordinator.sock", subject->dir), *text = js_dump(request);
	char *line = xasprintf("%s\n", text), error[JS_ERROR];
	int fd = sock_connect_unix(path);
	struct buf answer;
	ssize_t got = 0;
	json_t *json = NULL;

	buf_init(&answer, 64u << 20);
	if (fd >= 0) {
		fcntl(fd, F_SETFL, 0); /* waits */
		got = write(fd, line, strlen(line));
	}
	while (got > 0 && (!answer.len || answer.data[answer.len - 1] != '\n')) {
		char some[65536];

		got = read(fd, some, sizeof(some));
		if (got > 0)
			buf_add(&answer, some, (size_t)got);
	}
	if (answer.len)
		json = js_load(answer.data, answer.len, error);
	if (!json_is_true(json_object_get(json, "ok"))) {
		fprintf(stderr, "bench: %s: %s\n", text, buf_text(&answer));
		json_decref(json);
		json = NULL;
	}
	if (fd >= 0)
		close(fd);
	buf_wipe(&answer);
	free(path);
	free(text);
	free(line);
	json_decref(request);
	return json;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)status;
	(void)kind;
	(void)walk;
	return remove(path);
}

void subject_remove(struct subject *subject)
{
	subject_kill(subject);
	if (!subject->dir)
		return;
	nftw(subject->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(subject->dir);
	free(subject->origin);
}

char *subject_network(struct subject *subject, const char *name, const char *cidr)
{
	json_t *json = administer(subject, json_pack("{sss{ssss}}", "command", "network create", "arguments",
						     "name", name, "cidr", cidr));
	struct join_link link;
	char error[JS_ERROR], *key = NULL;
	const char *text;

	json_decref(json);
	if (!json)
		return NULL;
	json = administer(subject, json_pack("{sss{sssb}}", "command", "key create", "arguments", "network",
					     name, "reusable", 1));
	text = json_string_value(json_object_get(json_object_get(json, "result"), "link"));
	if (text && join_link_parse(&link, text, error))
		key = xstrdup(link.key);
	json_decref(json);
	return key;
}

bool subject_has_keys(const struct subject *subject, size_t count)
{
	size_t there = 0;

	for (int i = 0; i < START_TRIES && there < count; i++) {
		json_t *json = administer(subject, json_pack("{sss{}}", "command", "key list", "arguments"));

		there = json_array_size(json_object_get(json_object_get(json, "result"), "keys"));
		json_decref(json);
		if (there < count)
			nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
	}
	return there >= count;
}

json_t *subject_agents(const struct subject *subject, const char *network)
{
	json_t *json = administer(subject, json_pack("{sss{ss}}", "command", "agent list", "arguments", "network",
						     network));
	json_t *rows = json_incref(json_object_get(json_object_get(json, "result"), "agents"));

	json_decref(json);
	return rows;
}

/* ---- what it costs ------------------------------------------------------------------ */

static bool read_line(const char *path, char *out, size_t size)
{
	FILE *file = fopen(path, "re");
	bool ok = file && fgets(out, (int)size, file);

	if (file)
		fclose(file);
	return ok;
}

static uint64_t cpu_ns(pid_t pid)
{
	char *dir = xasprintf("/proc/%d/task", (int)pid), line[128];
	DIR *tasks = opendir(dir);
	struct dirent *entry;
	uint64_t sum = 0;

	while (tasks && (entry = readdir(tasks))) {
		char *path = xasprintf("%s/%s/schedstat", dir, entry->d_name);

		if (*entry->d_name != '.' && read_line(path, line, sizeof(line)))
			sum += strtoull(line, NULL, 10);
		free(path);
	}
	if (tasks)
		closedir(tasks);
	free(dir);
	return sum;
}

uint64_t subject_cpu_ns(const struct subject *subject)
{
	return cpu_ns(subject->pid);
}

uint64_t own_cpu_ns(void)
{
	return cpu_ns(getpid());
}

struct memory subject_memory(const struct subject *subject)
{
	char *path = xasprintf("/proc/%d/smaps_rollup", (int)subject->pid), line[200];
	FILE *file = fopen(path, "re");
	struct memory memory = {0};

	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, "Rss:", 4))
			memory.rss = strtod(line + 4, NULL);
		if (!strncmp(line, "Private_Dirty:", 14))
			memory.private_dirty = strtod(line + 14, NULL);
	}
	if (file)
		fclose(file);
	free(path);
	return memory;
}
