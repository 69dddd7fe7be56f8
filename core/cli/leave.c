/*
 * leave.c - `leave`: out of the mesh, and everything gone that join and the agent have made here.
 * Each step goes on where the one before failed: this host is cleaned also with the coordinator
 * away. An interface that is the user's own stays up; only what was ours is taken from it.
 */
#include "command.h"
#include "conf.h"
#include "enrol.h"
#include "hook_record.h"
#include "join.h"
#include "lib/file.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "run.h"
#include "running.h"
#include "service.h"
#include "updown.h"
#include "wg.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONF_MAX    ((size_t)1024 * 1024)
#define WG_QUICK_MS 30000
#define HOOKS_MS    11000 /* a hook has ten seconds */
#define NAP_MS      20
#define BACKUPS_MAX 99

struct leave {
	struct cli *cli;
	struct state *state; /* empty where it could not be read */
	char conf_path[PATHS_MAX];
	struct buf conf;
	bool conf_there, ours; /* ours: join made the file and it is unchanged */
	struct key private_key;
	int code; /* the worst so far */
};

static void worse(struct leave *leave, int code)
{
	if (leave->code != EXIT_FAILED)
		leave->code = code;
}

static void look_at_key(struct leave *leave)
{
	char *key = conf_value(buf_text(&leave->conf), leave->conf.len, "PrivateKey");
	struct wg_device device;
	struct wg *wg;

	if (key)
		key_parse(&leave->private_key, key);
	if (key)
		secret_wipe(key, strlen(key));
	free(key);
	if (!key_is_zero(&leave->private_key) || wg_open(&wg, leave->cli->interface) < 0)
		return;
	if (wg_get(wg, &device) == 0) {
		leave->private_key = device.private_key;
		wg_device_fini(&device);
	}
	wg_close(wg);
}

/* sha256: as join has written it down; NULL: it was not join's. */
static bool unchanged(const struct buf *text, const char *sha256)
{
	char hex[CONF_HASH];

	conf_hash(hex, text->data, text->len);
	return sha256 && strcmp(hex, sha256) == 0;
}

static void look_at_conf(struct leave *leave)
{
	int error;

	if (leave->state->config_path)
		str_copy(leave->conf_path, sizeof(leave->conf_path), leave->state->config_path);
	else
		snprintf(leave->conf_path, sizeof(leave->conf_path), "/etc/wireguard/%s.conf",
			 leave->cli->interface);
	buf_init(&leave->conf, CONF_MAX);
	error = file_read(leave->conf_path, CONF_MAX, &leave->conf);
	leave->conf_there = !error;
	if (error && error != -ENOENT)
		worse(leave, complain(EXIT_FAILED, "%s cannot be read: %s", leave->conf_path,
				      strerror(-error)));
	leave->ours = !error && leave->state->made_config &&
		      unchanged(&leave->conf, leave->state->config_sha256);
}

/* Nothing of ours: a configuration alone is the user's, for a join to come. */
static bool nothing_to_leave(struct leave *leave)
{
	const struct paths *paths = &leave->cli->paths;
	const char *text = buf_text(&leave->conf);

	return access(paths->ledger, F_OK) < 0 && access(paths->socket, F_OK) < 0 &&
	       !conf_has_up(text, leave->conf.len) && !conf_has_down(text, leave->conf.len);
}

/* 0, or 2 where there is nothing to leave. A state that is damaged is no reason to stay. */
static int look(struct leave *leave)
{
	const struct paths *paths = &leave->cli->paths;
	char error[JS_ERROR];
	int found = state_load(&leave->state, paths->state, error);

	if (found) {
		leave->state = state_new();
		if (found != -ENOENT)
			worse(leave,
			      complain(EXIT_FAILED,
				       "%s cannot be read (%s), so the coordinator cannot be told: "
				       "remove this agent there (wg-mesh-coordinator agent "
				       "remove)",
				       paths->state, found == -EBADMSG ? error : strerror(-found)));
	}
	look_at_conf(leave);
	if (found == -ENOENT && nothing_to_leave(leave))
		return complain(EXIT_USAGE, "%s is in no mesh: there is nothing to leave",
				leave->cli->interface);
	look_at_key(leave);
	return EXIT_DONE;
}

static void deregister(struct leave *leave)
{
	char why[ENROL_WHY];
	int code;

	if (!leave->state->coordinator_url || !*leave->state->agent_id)
		return;
	if (key_is_zero(&leave->private_key))
		key_generate_private(
			&leave->private_key); /* the token alone may do; a proof cannot be given */
	code = enrol_deregister(leave->state, &leave->private_key, why);
	if (code == EXIT_NOT_REACHABLE)
		worse(leave,
		      complain(code,
			       "the coordinator was not told (%s): this host is cleaned all the "
			       "same; "
			       "`wg-mesh-coordinator agent remove %s` there ends the membership",
			       why, leave->state->name));
	else if (code)
		worse(leave, complain(code, "the coordinator refused to let %s go: %s",
				      leave->state->name, why));
}

static void wg_quick_down(struct leave *leave)
{
	const char *argv[] = {"wg-quick", "down", leave->cli->interface, NULL};
	const struct run run = {.argv = argv, .timeout_ms = WG_QUICK_MS};
	struct run_result result;

	if (!str_has_prefix(leave->conf_path, "/etc/wireguard/"))
		argv[2] = leave->conf_path;
	if (run_program(&run, &result))
		worse(leave, complain(EXIT_FAILED, "wg-quick down %s: %s", argv[2],
				      strerror(-result.error)));
	else if (result.exit_code) {
		worse(leave, complain(EXIT_FAILED,
				      "wg-quick down %s failed (exit code %d): take the interface "
				      "down by hand (ip link del); it said:",
				      argv[2], result.exit_code));
		run_print_errors(&result);
	}
	run_fini(&result);
}

static void interface_down(struct leave *leave)
{
	const char *interface = leave->cli->interface;
	char why[SERVICE_WHY];

	if (!leave->ours)
		return;
	if (service_wg_quick_active(interface) && service_wg_quick(interface, "stop", why) < 0)
		worse(leave, complain(EXIT_FAILED, "%s", why));
	if (if_nametoindex(interface))
		wg_quick_down(leave);
}

/* What `wg-quick save` has written into the file, or the user: it is not for us to take out. */
static void print_left(const struct leave *leave, const char *text, size_t len)
{
	const struct state *state = leave->state;
	char address[ADDR_TEXT];
	unsigned line;

	for (size_t i = 0; i < state->network_count; i++) {
		const struct proto_network *network = &state->networks[i];

		for (unsigned j = 0; j < network->address_count; j++) {
			line = conf_address_line(text, len, &network->addresses[j].addr);
			if (!line)
				continue;
			addr_format(address, &network->addresses[j].addr);
			printf("  %s was our address in the mesh and stays in %s: delete it from "
			       "line %u there\n",
			       address, leave->conf_path, line);
		}
	}
	print_double_peers(leave->conf_path, text, len, json_object_get(state->map, "peers"));
}

static void remove_lines(struct leave *leave)
{
	struct buf out;
	int error;

	buf_init(&out, CONF_MAX);
	if (conf_remove_hooks(&out, buf_text(&leave->conf), leave->conf.len)) {
		error = conf_replace(leave->conf_path, out.data, out.len);
		if (error)
			worse(leave, complain(EXIT_FAILED, "%s still has our lines: %s",
					      leave->conf_path, strerror(-error)));
		else
			printf("  removed two lines from %s\n", leave->conf_path);
	}
	print_left(leave, buf_text(&out), out.len);
	buf_wipe(&out);
}

/* What was set aside before stays: .bak, else .bak.1 and so on. 0 or -errno. */
static int set_aside(const char *path, char backup[static PATHS_MAX + 16])
{
	snprintf(backup, PATHS_MAX + 16, "%s.bak", path);
	for (int i = 1; renameat2(AT_FDCWD, path, AT_FDCWD, backup, RENAME_NOREPLACE) < 0; i++) {
		if (errno == EINVAL && access(backup, F_OK) < 0) /* a file system without that flag */
			return rename(path, backup) < 0 ? -errno : 0;
		if ((errno != EEXIST && errno != EINVAL) || i > BACKUPS_MAX)
			return -errno;
		snprintf(backup, PATHS_MAX + 16, "%s.bak.%d", path, i);
	}
	return 0;
}

static void move_away(struct leave *leave, const char *path, const char *what)
{
	char backup[PATHS_MAX + 16];
	int error;

	chmod(path, 0600);
	error = set_aside(path, backup);
	if (error)
		worse(leave, complain(EXIT_FAILED, "%s cannot be moved away: %s", path,
				      strerror(-error)));
	else
		printf("  %s is now %s (%s)\n", path, backup, what);
}

static void clean_conf(struct leave *leave)
{
	bool changed;

	if (leave->state->enabled_unit && service_has_wg_quick() &&
	    service_enable(leave->cli->interface, false, &changed) < 0)
		worse(leave, complain(EXIT_FAILED, "wg-quick@%s could not be disabled",
				      leave->cli->interface));
	if (!leave->conf_there)
		return;
	if (!leave->ours) {
		remove_lines(leave);
		return;
	}
	move_away(leave, leave->conf_path, "it has the key");
}

static void remove_file(struct leave *leave, const char *path)
{
	if (unlink(path) < 0 && errno != ENOENT)
		worse(leave,
		      complain(EXIT_FAILED, "%s cannot be removed: %s", path, strerror(errno)));
}

/* IFACE.yaml: join's own goes, changed since it is set aside, the user's stays. */
static void clean_yaml(struct leave *leave)
{
	const char *path = leave->cli->paths.config;
	struct buf text;
	int error;

	buf_init(&text, CONF_MAX);
	error = file_read(path, CONF_MAX, &text);
	if (error == -ENOENT)
		;
	else if (error)
		worse(leave, complain(EXIT_FAILED, "%s cannot be read, and stays: %s", path,
				      strerror(-error)));
	else if (!leave->state->yaml_sha256)
		printf("  %s stays: it was there before\n", path);
	else if (unchanged(&text, leave->state->yaml_sha256))
		remove_file(leave, path);
	else
		move_away(leave, path, "it was changed since join made it");
	buf_free(&text);
}

/* The runner of hooks may still be at the last ones; its record goes when it has done them. */
static void remove_hook_record(struct leave *leave)
{
	const char *path = leave->cli->paths.hooks;

	for (int waited = 0; hook_record_count(path, EVENT_COUNT, true, true) > 0;
	     waited += NAP_MS) {
		if (waited >= HOOKS_MS)
			return;
		poll(NULL, 0, NAP_MS);
	}
	remove_file(leave, path);
}

int run_leave(struct cli *cli)
{
	struct leave leave = {.cli = cli};
	int code;

	if (geteuid() != 0)
		return complain(EXIT_CANNOT_RUN,
				"leave changes this host's network: run it as root (sudo)");
	if (running_elsewhere(cli))
		return EXIT_FAILED;
	code = look(&leave);
	if (!code) {
		deregister(&leave);
		if (!agent_down(cli, true))
			worse(&leave, EXIT_FAILED);
		interface_down(&leave);
		printf("%s has left the mesh%s%s\n", cli->interface,
		       leave.state->coordinator_url ? " at " : "",
		       leave.state->coordinator_url ? leave.state->coordinator_url : "");
		clean_conf(&leave);
		clean_yaml(&leave);
		remove_file(&leave, cli->paths.state);
		remove_file(&leave, cli->paths.psk);
		remove_file(&leave, cli->paths.rekey);
		remove_file(&leave, cli->paths.socket);
		remove_hook_record(&leave);
		remove_file(&leave, cli->paths.log);
		remove_file(&leave, cli->paths.log_old);
		remove_file(&leave, cli->paths.hung);
		remove_file(&leave, cli->paths.turn);
		code = leave.code;
	}
	key_wipe(&leave.private_key);
	buf_wipe(&leave.conf);
	state_free(leave.state);
	return code;
}
