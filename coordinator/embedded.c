/*
 * embedded.c - one relay for this run directory, whoever started it.
 *
 * RUN/relay.lock is held by flock as long as a relay lives and has its pid inside; RUN/relay.json
 * says what it serves once it is ready. So a coordinator that starts finds the relay that another
 * one left. It is watched by pidfd, which works for children and strangers alike, and started again
 * with back-off when it ends.
 */
#include "embedded.h"
#include "coordinator.h"
#include "coordinator/sync/sync.h"
#include "lib/daemon.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sock.h"
#include "lib/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STUN_PORT    3478
#define LOOK_MS      100
#define BACK_OFF_MAX 30000
#define STEADY_MS    60000 /* after so long alive the back-off begins anew */

struct embedded {
	struct coordinator *co;
	struct loop_timer timer; /* start, or look again */
	struct loop_io ended;    /* of the pidfd */
	pid_t pid;               /* 0: none known */
	int pidfd;
	bool ready;
	uint64_t back_off_ms, started_ms;
	struct endpoint at; /* where it serves STUN; until it says so, where it is to */
};

static char *path_of(const struct embedded *embedded, const char *name)
{
	return xasprintf("%s/%s", embedded->co->config.run_dir, name);
}

/* Who holds the lock: a pid, 0 for nobody, -EAGAIN where it has not said yet. */
static pid_t holder(const struct embedded *embedded)
{
	char *path = path_of(embedded, "relay.lock"), text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;
	uint64_t pid;

	free(path);
	if (fd < 0)
		return 0;
	if (!flock(fd, LOCK_SH | LOCK_NB)) {
		close(fd); /* and the lock with it */
		return 0;
	}
	got = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	text[MAX(got, 0)] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return parse_u64(text, &pid) && pid > 1 && pid <= INT_MAX ? (pid_t)pid : -EAGAIN;
}

static char *find_program(void)
{
	char self[PATH_MAX], *slash, *path;
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len > 0) {
		self[len] = '\0';
		slash = strrchr(self, '/');
		if (slash) {
			path = xasprintf("%.*s/wg-mesh-relay", (int)(slash - self), self);
			if (!access(path, X_OK))
				return path;
			free(path);
		}
	}
	path = xstrdup(WG_MESH_SBINDIR "/wg-mesh-relay");
	if (!access(path, X_OK))
		return path;
	free(path);
	return NULL;
}

static void again(struct embedded *embedded)
{
	timer_start(&embedded->timer, embedded->back_off_ms);
	embedded->back_off_ms = MIN(2 * embedded->back_off_ms, (uint64_t)BACK_OFF_MAX);
}

static void forget(struct embedded *embedded)
{
	if (!embedded->pid)
		return;
	io_stop(&embedded->ended);
	close(embedded->pidfd);
	embedded->pid = 0;
}

/* What it said last, which is mostly why. */
static void last_words(const struct embedded *embedded, char *out, size_t size)
{
	char *path = xasprintf("%s/relay.log", embedded->co->config.state), text[512], *line;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = -1;

	*out = '\0';
	free(path);
	if (fd < 0)
		return;
	if (lseek(fd, -(off_t)(sizeof(text) - 1), SEEK_END) >= 0 || !lseek(fd, 0, SEEK_SET))
		got = read(fd, text, sizeof(text) - 1);
	close(fd);
	while (got > 0 && text[got - 1] == '\n')
		got--;
	text[MAX(got, 0)] = '\0';
	line = strrchr(text, '\n');
	str_copy(out, size, line ? line + 1 : text);
}

static void on_ended(void *arg, int fd, unsigned events)
{
	struct embedded *embedded = arg;
	char said[256];

	(void)fd;
	(void)events;
	last_words(embedded, said, sizeof(said));
	log_warn("relay-ended", "pid=%d said=\"%s\" reason=\"it will be started again; relay: {stun: ADDR:PORT} "
		 "in the configuration moves it\"", (int)embedded->pid, said);
	waitpid(embedded->pid, NULL, WNOHANG); /* where it was our child */
	forget(embedded);
	embedded->ready = false;
	if (loop_now(embedded->co->loop) - embedded->started_ms > STEADY_MS)
		embedded->back_off_ms = LOOK_MS;
	again(embedded);
}

static bool watch(struct embedded *embedded, pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return false;
	embedded->pid = pid;
	embedded->pidfd = fd;
	embedded->ready = false;
	embedded->started_ms = loop_now(embedded->co->loop);
	io_init(&embedded->ended, embedded->co->loop, fd, on_ended, embedded);
	io_start(&embedded->ended, LOOP_READ);
	return true;
}

static void start(struct embedded *embedded)
{
	const struct config *config = &embedded->co->config;
	char *program = find_program(), *log = xasprintf("%s/relay.log", config->state);
	pid_t pid;

	if (!program) {
		log_error("relay", "reason=\"wg-mesh-relay is neither beside this program nor in %s: "
			  "install it, or say relay: {embedded: false}\"", WG_MESH_SBINDIR);
		goto out;
	}
	pid = daemon_fork(log);
	if (!pid) {
		execl(program, program, "--stun", config->relay_stun, "--run-dir", config->run_dir,
		      (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || !watch(embedded, pid)) {
		log_error("relay", "reason=\"cannot start %s: %s\"", program, strerror(pid < 0 ? -pid : errno));
		again(embedded);
		goto out;
	}
	log_info("relay-started", "pid=%d stun=%s log=%s", (int)pid, config->relay_stun, log);
	timer_start(&embedded->timer, LOOK_MS);
out:
	free(log);
	free(program);
}

/* ---- is it ready, and is it the one we want? ------------------------------------------------ */

/* relay.json of the relay with this pid; NULL: not there yet. */
static json_t *description(const struct embedded *embedded)
{
	char *path = path_of(embedded, "relay.json"), error[JS_ERROR];
	json_t *json = NULL;
	struct buf file;

	buf_init(&file, 64 * 1024);
	if (!file_read(path, 64 * 1024, &file))
		json = js_load(file.data, file.len, error);
	if (json_integer_value(json_object_get(json, "pid")) != embedded->pid) {
		json_decref(json);
		json = NULL;
	}
	buf_free(&file);
	free(path);
	return json;
}

/* Any address is any address, whatever the family it is written in. */
static bool same_address(const struct addr *a, const struct addr *b)
{
	return addr_equal(a, b) || (addr_is_unspecified(a) && addr_is_unspecified(b));
}

static bool fits(const struct embedded *embedded, const json_t *json, const struct endpoint *serves)
{
	const char *version = json_string_value(json_object_get(json, "version"));
	struct endpoint wanted;

	listen_parse(&wanted, embedded->co->config.relay_stun);
	return version && !strcmp(version, WG_MESH_VERSION) &&
	       (!wanted.port || wanted.port == serves->port) &&
	       same_address(&wanted.addr, &serves->addr);
}

/* The first of "stun" tells where; port 0 in the configuration means any. */
static void look(struct embedded *embedded)
{
	json_t *json = description(embedded);
	const char *first = json_string_value(json_array_get(json_object_get(json, "stun"), 0));
	struct endpoint serves;

	if (!first || !listen_parse(&serves, first)) {
		timer_start(&embedded->timer, LOOK_MS);
	} else if (!fits(embedded, json, &serves)) {
		log_info("relay-replaced", "pid=%d reason=\"it is of another version, address or port\"",
			 (int)embedded->pid);
		embedded_end(embedded);
	} else {
		embedded->ready = true;
		embedded->back_off_ms = LOOK_MS;
		if (!endpoint_equal(&embedded->at, &serves)) {
			embedded->at = serves;
			sync_relays(embedded->co->sync, false);
		}
		log_info("relay-ready", "pid=%d stun=%s", (int)embedded->pid, first);
	}
	json_decref(json);
}

static void on_timer(void *arg)
{
	struct embedded *embedded = arg;
	pid_t pid;

	if (embedded->pid) {
		look(embedded);
		return;
	}
	pid = holder(embedded);
	if (pid > 0 && watch(embedded, pid)) {
		log_info("relay-adopted", "pid=%d", (int)pid);
		look(embedded);
	} else if (pid) {
		again(embedded);
	} else {
		start(embedded);
	}
}

struct embedded *embedded_new(struct coordinator *co)
{
	struct embedded *embedded = xcalloc(1, sizeof(*embedded));

	embedded->co = co;
	embedded->back_off_ms = LOOK_MS;
	listen_parse(&embedded->at, co->config.relay_stun);
	timer_init(&embedded->timer, co->loop, on_timer, embedded);
	on_timer(embedded);
	return embedded;
}

void embedded_free(struct embedded *embedded)
{
	if (!embedded)
		return;
	timer_stop(&embedded->timer);
	forget(embedded);
	free(embedded);
}

void embedded_end(struct embedded *embedded)
{
	if (embedded && embedded->pid)
		syscall(SYS_pidfd_send_signal, embedded->pidfd, SIGTERM, NULL, 0);
}

/* One coordinator has one relay, at home. Where there may be several each is called as its host is, and
 * by its port where that is not the usual one: two relays of one host differ in it. */
static void find_region(const struct embedded *embedded, char out[static PROTO_NAME_MAX])
{
	const char *given = embedded->co->config.relay_region;
	char host[PROTO_NAME_MAX - 8] = "";
	size_t len;

	str_copy(out, PROTO_NAME_MAX, given ? given : "home");
	if (given || !embedded->co->cluster || gethostname(host, sizeof(host) - 1))
		return;
	len = strcspn(host, ".");
	for (size_t i = 0; i < len; i++)
		host[i] = (char)(isalnum((unsigned char)host[i]) ? tolower((unsigned char)host[i]) : '-');
	while (len && host[len - 1] == '-')
		len--;
	host[len] = '\0';
	if (!name_valid(host))
		return;
	if (!embedded->at.port || embedded->at.port == STUN_PORT)
		str_copy(out, PROTO_NAME_MAX, host);
	else
		snprintf(out, PROTO_NAME_MAX, "%s-%u", host, embedded->at.port);
}

json_t *embedded_relays(const struct embedded *embedded)
{
	const struct config *config = &embedded->co->config;
	char host[300], text[310];
	const struct endpoint *at = &embedded->at;
	json_t *json;
	struct proto_relay relay = {.stun = {text}, .stun_count = at->port ? 1 : 0};

	find_region(embedded, relay.region);
	if (!at->addr.family || addr_is_unspecified(&at->addr)) {
		origin_host(host, sizeof(host), config->urls[0]);
		snprintf(text, sizeof(text), "%s:%u", host, at->port);
	} else {
		endpoint_format(text, at);
	}
	json = proto_write_relay(&relay);
	return json_pack("[o]", json);
}
