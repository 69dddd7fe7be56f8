/*
 * join_files.c - what join writes: the wg-quick file, IFACE.yaml and the state; and how all of it
 * is taken back. The order is such that a crash in between leaves files that `leave` knows.
 */
#include "join.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "service.h"

#include <errno.h>
#include <unistd.h>

#define TOKEN_LIFE_USED 0.75 /* of a token's life, then another is asked for */

static void hooks_of(const struct cli *cli, struct conf_hooks *hooks)
{
	conf_hooks_init(hooks, cli->config, cli->state, cli->run_dir, cli->plugin_dir);
}

static int make_conf(struct join *join)
{
	struct conf_hooks hooks;
	char key[KEY_BASE64], hash[CONF_HASH];
	struct buf text;
	int error;

	hooks_of(join->cli, &hooks);
	key_format(key, &join->private_key);
	buf_init(&text, 0);
	buf_addf(&text,
		 "# Made by `wg-mesh join`. Addresses and peers of the mesh are the agent's; peers "
		 "and\n"
		 "# settings of your own can stand here as in any wg-quick file.\n"
		 "[Interface]\nPrivateKey = %s\nListenPort = %u\n%s\n%s\n",
		 key, join->listen_port, hooks.up, hooks.down);
	error = conf_create(join->conf_path, text.data, text.len);
	conf_hash(hash, text.data, text.len);
	buf_wipe(&text);
	secret_wipe(key, sizeof(key));
	if (error)
		return complain(EXIT_FAILED, "%s cannot be made: %s", join->conf_path,
				strerror(-error));
	join->made_conf = join->state->made_config = true;
	free(join->state->config_sha256);
	join->state->config_sha256 = xstrdup(hash);
	return EXIT_DONE;
}

static int edit_conf(struct join *join)
{
	const char *text = buf_text(&join->conf);
	struct conf_hooks hooks;
	struct buf out;
	int error = 0;

	if (conf_has_up(text, join->conf.len) && conf_has_down(text, join->conf.len))
		return EXIT_DONE;
	hooks_of(join->cli, &hooks);
	buf_init(&out, 0);
	if (!conf_add_hooks(&out, text, join->conf.len, &hooks))
		error = complain(EXIT_FAILED, "%s has no [Interface]", join->conf_path);
	else if ((error = conf_replace(join->conf_path, out.data, out.len)))
		error = complain(EXIT_FAILED, "%s cannot be changed: %s", join->conf_path,
				 strerror(-error));
	else
		join->edited_conf = join->state->edited_config = true;
	buf_wipe(&out);
	return error;
}

static void add_quoted(struct buf *out, const char *text)
{
	json_t *json = json_string(text);
	char *quoted = json_dumps(json, JSON_ENCODE_ANY);

	buf_puts(out, quoted ? quoted : "\"\"");
	free(quoted);
	json_decref(json);
}

static int write_config(struct join *join)
{
	const struct cli *cli = join->cli;
	struct buf text;
	char hash[CONF_HASH];
	int error;

	if (access(cli->paths.config, F_OK) == 0)
		return EXIT_DONE; /* join_look has seen that it is for this coordinator */
	buf_init(&text, 0);
	buf_puts(&text, "# Made by `wg-mesh join`; wg-meshd(8) tells what else can stand "
			"here.\ncoordinator: {url: ");
	add_quoted(&text, join->link.origin);
	if (*join->link.pin) {
		buf_puts(&text, ", pin: ");
		add_quoted(&text, join->link.pin);
	}
	buf_addf(&text, "}\nname: %s\n", join->state->name);
	if (cli->listen_port)
		buf_addf(&text, "listen_port: %u\n", (unsigned)cli->listen_port);
	if (cli->advertise.count)
		buf_puts(&text, "routes: {advertise: [");
	for (size_t i = 0; i < cli->advertise.count; i++) {
		buf_puts(&text, i ? ", " : "");
		add_quoted(&text, cli->advertise.items[i]);
	}
	buf_puts(&text, cli->advertise.count ? "]}\n" : "");
	error = file_make_dirs(cli->paths.config_dir, 0755);
	if (!error)
		error = file_write_atomic(cli->paths.config, text.data, text.len, 0600);
	conf_hash(hash, text.data, text.len);
	buf_free(&text);
	if (error)
		return complain(EXIT_FAILED, "%s cannot be written: %s", cli->paths.config,
				strerror(-error));
	join->wrote_config = true;
	free(join->state->yaml_sha256);
	join->state->yaml_sha256 = xstrdup(hash);
	return EXIT_DONE;
}

static void take_networks(struct state *state, const json_t *networks)
{
	json_t *item;
	struct js js;
	size_t i;

	free(state->networks);
	state->networks = xcalloc(json_array_size(networks) + 1, sizeof(*state->networks));
	state->network_count = 0;
	json_array_foreach(networks, i, item)
	{
		js_read(&js, item);
		if (proto_read_network(&js, &state->networks[state->network_count]))
			state->network_count++;
	}
}

/* The registration's answer into the state; a first join's state is new. */
static int take_answer(struct join *join)
{
	struct state *state = join->state;
	json_t *relays;
	struct js js;

	js_read(&js, join->answer);
	str_copy(state->agent_id, sizeof(state->agent_id),
		 js_need_string(&js, "agent_id", PROTO_ID_MAX - 1));
	str_copy(state->name, sizeof(state->name), js_string(&js, "name", join->name));
	if (state->token)
		secret_wipe(state->token, strlen(state->token));
	free(state->token);
	state->token = xstrdup(js_need_string(&js, "token", 8192));
	state->token_renew_wall_ms =
		clock_wall_ms() +
		(uint64_t)(TOKEN_LIFE_USED * 1000 *
			   (double)js_int(&js, "expires_in", 0, INT32_MAX, 86400));
	js_need_key(&js, "server_key", &state->server_key);
	take_networks(state, js_array(&js, "networks", PROTO_MAX_NETWORKS));
	relays = js_array(&js, "relays", PROTO_MAX_RELAYS);
	json_decref(state->relays);
	state->relays = json_incref(relays);
	if (!state->coordinator_url)
		state->coordinator_url = xstrdup(join->link.origin);
	if (!state->pin_count && *join->link.pin) {
		state->pins = xcalloc(2, sizeof(*state->pins));
		state->pins[state->pin_count++] = xstrdup(join->link.pin);
	}
	free(state->config_path);
	state->config_path = join->conf_there || join->made_conf ? xstrdup(join->conf_path) : NULL;
	if (!js_ok(&js) || !state->network_count)
		return complain(EXIT_FAILED, "the answer of the coordinator makes no sense: %s",
				js_ok(&js) ? "no network" : js.error);
	return EXIT_DONE;
}

int join_note(struct join *join)
{
	const struct paths *paths = &join->cli->paths;
	int error = state_save(join->state, paths->state);

	if (error)
		return complain(EXIT_FAILED, "%s cannot be written: %s", paths->state,
				strerror(-error));
	join->wrote_state = !join->again;
	return EXIT_DONE;
}

/* How many directories of a path are not there yet. */
static unsigned missing(const char *path)
{
	char *part = xstrdup(path), *slash;
	unsigned count = 0;

	while (*part && access(part, F_OK) < 0 && (slash = strrchr(part, '/'))) {
		*slash = '\0';
		count++;
	}
	free(part);
	return count;
}

int join_write(struct join *join)
{
	int code = EXIT_DONE;

	join->new_state_dirs = missing(join->cli->paths.state_dir);
	join->new_config_dirs = missing(join->cli->paths.config_dir);
	if (!join->state)
		join->state = state_new();
	if (!join->conf_there && !join->interface_up)
		code = make_conf(join);
	else if (join->conf_there && join->cli->edit_conf)
		code = edit_conf(join);
	if (!code)
		code = take_answer(join);
	if (!code)
		code = write_config(join);
	if (!code)
		code = join_note(join);
	return code;
}

/* The lowest so many, where they are empty. */
static void remove_dirs(const char *path, unsigned count)
{
	char *part = xstrdup(path), *slash;

	while (count-- && rmdir(part) == 0 && (slash = strrchr(part, '/')))
		*slash = '\0';
	free(part);
}

void join_take_back(struct join *join)
{
	const struct paths *paths = &join->cli->paths;
	char why[ENROL_WHY];
	bool changed;

	if (join->enabled)
		service_enable(join->cli->interface, false, &changed);
	if (join->made_conf)
		unlink(join->conf_path);
	if (join->edited_conf)
		conf_replace(join->conf_path, join->conf.data, join->conf.len);
	if (join->wrote_config)
		unlink(paths->config);
	if (join->wrote_state)
		unlink(paths->state);
	remove_dirs(paths->state_dir, join->new_state_dirs);
	remove_dirs(paths->config_dir, join->new_config_dirs);
	if (!join->registered || join->again || !join->state)
		return;
	if (enrol_deregister(join->state, &join->private_key, why) != EXIT_DONE)
		complain(EXIT_FAILED, "the registration could not be taken back: %s", why);
}

size_t print_double_peers(const char *path, const char *text, size_t len, const json_t *members)
{
	struct conf_peer *peers;
	size_t count = conf_peers(text, len, &peers), found = 0, j;
	json_t *member;

	for (size_t i = 0; i < count; i++) {
		json_array_foreach(members, j, member)
		{
			const char *text_key =
				json_string_value(json_object_get(member, "public_key"));
			const char *name = json_string_value(json_object_get(member, "name"));
			struct key key;

			if (!text_key || !key_parse(&key, text_key) ||
			    !key_equal(&key, &peers[i].public_key))
				continue;
			printf("%s is a member of the mesh and a peer in %s: it stays yours until "
			       "you delete "
			       "lines %u to %u there\n",
			       name && name_valid(name) ? name : "a peer", path,
			       peers[i].first_line, peers[i].last_line);
			found++;
			break;
		}
	}
	free(peers);
	return found;
}
