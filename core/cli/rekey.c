/*
 * rekey.c - `rekey`: this host goes on under a new WireGuard key. The order is such that whatever
 * happens in between, the same command run again ends it: the new key is on the disk before anybody
 * hears of it (IFACE.rekey); the coordinator is told; then the device, the state, the wg-quick file
 * and the agent; and the file with the key goes last. Tunnels stay: the peers make theirs anew under
 * the new key where it was, and hands are shaken at once.
 */
#include "agent.h"
#include "command.h"
#include "conf.h"
#include "enrol.h"
#include "ledger.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "psk_store.h"
#include "running.h"
#include "updown.h"
#include "wg.h"

#include <errno.h>
#include <unistd.h>

#define CONF_MAX  ((size_t)1024 * 1024)
#define ANSWER_MS 5000

struct rekey {
	struct cli *cli;
	struct state *state;
	struct wg *wg;
	struct wg_device device;
	struct key old_key, new_key;
	bool again; /* there was a key of an earlier run */
	json_t *answer;
	bool conf_is_old;
	char conf_path[PATHS_MAX];
};

static int look(struct rekey *rekey)
{
	const struct cli *cli = rekey->cli;
	char error[JS_ERROR];
	int found = state_load(&rekey->state, cli->paths.state, error);

	if (found == -ENOENT)
		return complain(EXIT_USAGE, "%s has joined no mesh: `wg-mesh join LINK --interface %s`",
				cli->interface, cli->interface);
	if (found)
		return complain(EXIT_FAILED, "%s cannot be read: %s", cli->paths.state,
				found == -EBADMSG ? error : strerror(-found));
	if (running_elsewhere(cli))
		return EXIT_FAILED;
	found = wg_open(&rekey->wg, cli->interface);
	if (!found)
		found = wg_get(rekey->wg, &rekey->device);
	if (found)
		return complain(EXIT_NOT_RUNNING, "%s is not up: `wg-quick up %s` first", cli->interface,
				cli->interface);
	rekey->old_key = rekey->device.private_key;
	if (rekey->state->config_path)
		str_copy(rekey->conf_path, sizeof(rekey->conf_path), rekey->state->config_path);
	else
		snprintf(rekey->conf_path, sizeof(rekey->conf_path), "/etc/wireguard/%s.conf",
			 cli->interface);
	return EXIT_DONE;
}

/* All of it was done, but for taking the file away. */
static bool was_finished(const struct rekey *rekey)
{
	char *value = NULL;
	struct key in_conf = rekey->new_key;
	struct buf text;

	buf_init(&text, CONF_MAX);
	if (file_read(rekey->conf_path, CONF_MAX, &text) == 0)
		value = conf_value(buf_text(&text), text.len, "PrivateKey");
	if (value && !key_parse(&in_conf, value))
		key_wipe(&in_conf);
	if (value)
		secret_wipe(value, strlen(value));
	free(value);
	buf_wipe(&text);
	return key_equal(&rekey->new_key, &rekey->old_key) && key_equal(&in_conf, &rekey->new_key);
}

/* The key of a run that did not end, or a new one, on the disk before it is told to anybody. */
static int take_key(struct rekey *rekey)
{
	const char *path = rekey->cli->paths.rekey;
	char base64[KEY_BASE64 + 1];
	struct buf text;
	int error;

	buf_init(&text, 256);
	error = file_read(path, 255, &text);
	if (!error && text.len == KEY_BASE64 && text.data[text.len - 1] == '\n') {
		text.data[text.len - 1] = '\0';
		rekey->again = key_parse(&rekey->new_key, buf_text(&text));
	}
	buf_wipe(&text);
	rekey->again = rekey->again && !was_finished(rekey);
	if (rekey->again)
		return EXIT_DONE;
	key_generate_private(&rekey->new_key);
	key_format(base64, &rekey->new_key);
	base64[KEY_BASE64 - 1] = '\n';
	error = file_write_atomic(path, base64, KEY_BASE64, 0600);
	secret_wipe(base64, sizeof(base64));
	return error ? complain(EXIT_FAILED, "%s cannot be written: %s", path, strerror(-error))
		     : EXIT_DONE;
}

static int tell_coordinator(struct rekey *rekey)
{
	char why[ENROL_WHY];
	int code = enrol_rekey(rekey->state, &rekey->old_key, &rekey->new_key, rekey->again,
			       &rekey->answer, why);

	if (!code)
		return EXIT_DONE;
	return complain(code,
			"the key of %s was not changed, or not yet: %s; `wg-mesh rekey %s` once more "
			"goes on where this one stopped",
			rekey->cli->interface, why, rekey->cli->interface);
}

/* ---- this host ---- */

/* Preshared keys were for the old pair; nobody has them for the new one. */
static int clear_psks(struct rekey *rekey)
{
	static const struct key none;
	const char *path = rekey->cli->paths.psk;
	struct psk_entry *entry;
	struct map *entries;
	int error = psk_load(&entries, path), first = 0;

	for (size_t pos = 0; (entry = map_next(entries, &pos, NULL));) {
		struct wg_peer peer = {.public_key = entry->peer, .preshared = &none};

		error = wg_set_peer(rekey->wg, &peer, WG_PEER_UPDATE_ONLY | WG_PEER_SET_PSK);
		first = first ? first : error;
	}
	psk_free(entries);
	if (!first && unlink(path) < 0 && errno != ENOENT)
		first = -errno;
	return first;
}

/* Turning the keepalive on is what makes WireGuard send, and so shake hands. */
static void shake_hands(struct rekey *rekey)
{
	const struct ledger_entry *entry;
	struct ledger *ledger;

	if (ledger_read(&ledger, rekey->cli->paths.ledger))
		return;
	for (size_t pos = 0; (entry = ledger_next(ledger, &pos));) {
		const struct wg_peer *now = entry->kind == LEDGER_PEER
						    ? wg_device_find(&rekey->device, &entry->key)
						    : NULL;
		struct wg_peer off = {.public_key = entry->key}, on = off;
		const unsigned flags = WG_PEER_UPDATE_ONLY | WG_PEER_SET_KEEPALIVE;
		struct wg_change changes[] = {{&off, flags}, {&on, flags}};

		if (!now || !now->keepalive_s)
			continue;
		on.keepalive_s = now->keepalive_s;
		wg_set_peers(rekey->wg, changes, ARRAY_SIZE(changes));
	}
	ledger_close(ledger);
}

static int change_device(struct rekey *rekey)
{
	int error = clear_psks(rekey);

	if (!error && !key_equal(&rekey->old_key, &rekey->new_key))
		error = wg_set_private_key(rekey->wg, &rekey->new_key);
	if (error)
		return complain(EXIT_FAILED,
				"%s cannot be given its new key: %s; `wg-mesh rekey %s` once more",
				rekey->cli->interface, strerror(-error), rekey->cli->interface);
	shake_hands(rekey);
	return EXIT_DONE;
}

static void take_token(struct rekey *rekey)
{
	const char *token = json_string_value(json_object_get(rekey->answer, "token"));
	json_int_t seconds = json_integer_value(json_object_get(rekey->answer, "expires_in"));
	struct state *state = rekey->state;

	if (!token || seconds < 1)
		return; /* the agent gets one by proof */
	if (state->token)
		secret_wipe(state->token, strlen(state->token));
	free(state->token);
	state->token = xstrdup(token);
	state->token_renew_wall_ms = clock_wall_ms() + (uint64_t)seconds * 750;
}

/* The state first: what stands there of the file is then true of the file as it is going to be, and
 * of nothing else; a run that was ended in between knows it again. */
static int change_files(struct rekey *rekey)
{
	struct state *state = rekey->state;
	char now[CONF_HASH], then[CONF_HASH];
	struct buf text, changed;
	bool ours, has_line;
	int error;

	buf_init(&text, CONF_MAX);
	buf_init(&changed, CONF_MAX + KEY_BASE64);
	error = file_read(rekey->conf_path, CONF_MAX, &text);
	has_line = !error && conf_set_private_key(&changed, buf_text(&text), text.len, &rekey->new_key);
	conf_hash(now, text.data, text.len);
	conf_hash(then, changed.data, changed.len);
	ours = has_line && state->made_config && state->config_sha256 &&
	       (!strcmp(state->config_sha256, now) || !strcmp(state->config_sha256, then));
	take_token(rekey);
	if (ours)
		str_copy(state->config_sha256, CONF_HASH, then);
	error = state_save(state, rekey->cli->paths.state);
	if (error)
		error = complain(EXIT_FAILED, "%s cannot be written: %s", rekey->cli->paths.state,
				 strerror(-error));
	rekey->conf_is_old = has_line && strcmp(now, then) != 0;
	if (!error && rekey->conf_is_old && (ours || rekey->cli->edit_conf)) {
		error = conf_replace(rekey->conf_path, changed.data, changed.len);
		rekey->conf_is_old = error != 0;
		if (error)
			error = complain(EXIT_FAILED, "%s cannot be changed: %s", rekey->conf_path,
					 strerror(-error));
	}
	buf_wipe(&text);
	buf_wipe(&changed);
	return error;
}

/* An agent that a run which was killed had just started may have come up meanwhile, under the key of before. */
static bool agent_has_old_key(const struct rekey *rekey)
{
	json_t *answer = NULL;
	const char *text;
	struct agent agent;
	struct key key, now;
	bool old = false;

	key_public(&now, &rekey->new_key);
	if (agent_connect(&agent, rekey->cli->paths.socket) == 0 &&
	    agent_send(&agent, "{\"command\":\"status\"}") == 0 && agent_next(&agent, ANSWER_MS, &answer) == 0) {
		text = json_string_value(json_object_get(answer, "public_key"));
		old = text && key_parse(&key, text) && !key_equal(&key, &now);
	}
	json_decref(answer);
	agent_close(&agent);
	return old;
}

static int change_host(struct rekey *rekey)
{
	int code = agent_stop(rekey->cli) ? change_device(rekey) : EXIT_FAILED, up;

	if (!code)
		code = change_files(rekey);
	up = agent_up(rekey->cli, false);
	if (!code && !up && agent_has_old_key(rekey) && agent_stop(rekey->cli))
		up = agent_up(rekey->cli, false);
	return code ? code : up;
}

static void report(struct rekey *rekey)
{
	const struct cli *cli = rekey->cli;
	struct key public_key;
	char base64[KEY_BASE64];

	key_public(&public_key, &rekey->new_key);
	key_format(base64, &public_key);
	printf("%s has a new key; its public one is %s\n", cli->interface, base64);
	if (rekey->conf_is_old)
		printf("  %s has the old one still: `wg-mesh rekey %s --edit-conf` puts the new one there, or "
		       "do it with what `wg show %s private-key` prints\n",
		       rekey->conf_path, cli->interface, cli->interface);
	else
		unlink(cli->paths.rekey);
}

int run_rekey(struct cli *cli)
{
	struct rekey rekey = {.cli = cli};
	int code;

	if (geteuid() != 0)
		return complain(EXIT_CANNOT_RUN, "rekey changes this host's key: run it as root (sudo)");
	list_init(&rekey.device.peers);
	code = look(&rekey);
	if (!code)
		code = take_key(&rekey);
	if (!code)
		code = tell_coordinator(&rekey);
	if (!code)
		code = change_host(&rekey);
	if (!code)
		report(&rekey);
	json_decref(rekey.answer);
	if (rekey.wg)
		wg_close(rekey.wg);
	wg_device_fini(&rekey.device);
	if (rekey.state)
		state_free(rekey.state);
	key_wipe(&rekey.old_key);
	key_wipe(&rekey.new_key);
	return code;
}
