/*
 * leave.c - `leave`: out of the mesh, and everything gone that join and the agent have made here.
 * Each step goes on where the one before failed: this host is cleaned also with the coordinator
 * away. An interface that is the user's own stays up; only what was ours is taken from it.
 */
#include "command.h"
#include "conf.h"
#include "enrol.h"
#include "hook_record.h"
#include "lib/file.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "run.h"
#include "service.h"
#include "updown.h"
#include "wg.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONF_MAX    ((size_t)1024 * 1024)
#define WG_QUICK_MS 30000
#define HOOKS_MS    11000 /* a hook has ten seconds */
#define NAP_MS      20

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

static void look_at_conf(struct leave *leave)
{
	char hex[CONF_HASH];
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
	if (error || !leave->state->made_config || !leave->state->config_sha256)
		return;
	conf_hash(hex, leave->conf.data, leave->conf.len);
	leave->ours = strcmp(hex, leave->state->config_sha256) == 0;
}

/* 0, or 2 where there is nothing to leave. A state that is damaged is no reason to stay. */
static int look(struct leave *leave)
{
	const struct paths *paths = &leave->cli->paths;
	char error[JS_ERROR];
	int found = state_load(&leave->state, paths->state, error);

	if (found == -ENOENT && access(paths->config, F_OK) < 0)
		return complain(EXIT_USAGE, "%s is in no mesh: there is nothing to leave",
				leave->cli->interface);
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
	if (run_program(&run, &result) || result.exit_code)
		worse(leave,
		      complain(EXIT_FAILED, "wg-quick down %s: %s", argv[2],
			       result.error ? strerror(-result.error) : run_last_line(&result)));
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
	buf_wipe(&out);
}

static void clean_conf(struct leave *leave)
{
	char backup[PATHS_MAX + 8];
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
	snprintf(backup, sizeof(backup), "%s.bak", leave->conf_path);
	chmod(leave->conf_path, 0600);
	if (rename(leave->conf_path, backup) < 0)
		worse(leave, complain(EXIT_FAILED, "%s cannot be moved away: %s", leave->conf_path,
				      strerror(errno)));
	else
		printf("  %s is now %s (it has the key)\n", leave->conf_path, backup);
}

static void remove_file(struct leave *leave, const char *path)
{
	if (unlink(path) < 0 && errno != ENOENT)
		worse(leave,
		      complain(EXIT_FAILED, "%s cannot be removed: %s", path, strerror(errno)));
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
		remove_file(&leave, cli->paths.config);
		remove_file(&leave, cli->paths.state);
		remove_file(&leave, cli->paths.psk);
		remove_file(&leave, cli->paths.rekey);
		remove_file(&leave, cli->paths.socket);
		remove_hook_record(&leave);
		remove_file(&leave, cli->paths.log);
		remove_file(&leave, cli->paths.hung);
		code = leave.code;
	}
	key_wipe(&leave.private_key);
	buf_wipe(&leave.conf);
	state_free(leave.state);
	return code;
}
