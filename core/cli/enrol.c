/*
 * enrol.c - one document to `wg-meshd --register`, one back. The private key and the join key go
 * through a memory file, never through arguments or the environment, and are wiped here.
 */
#include "enrol.h"
#include "lib/file.h"
#include "lib/secret.h"
#include "run.h"

#include <errno.h>
#include <unistd.h>

#define LINK_MAX 1024
#define REGISTER_MS                                                                                \
	60000 /* the agent's own limits are shorter; this one is for a broken program              \
	       */

static void wipe_argument(char **argv, const char *text)
{
	for (; *argv; argv++)
		if (*argv == text)
			secret_wipe(*argv, strlen(*argv));
}

static int parse_link(struct join_link *out, char *text)
{
	char error[JS_ERROR];
	size_t len = strlen(text);

	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r' || text[len - 1] == ' '))
		text[--len] = '\0';
	if (!len)
		return complain(EXIT_USAGE,
				"there is no join link: it begins with https:// and comes from "
				"`wg-mesh-coordinator key create`");
	if (!join_link_parse(out, text, error))
		return complain(EXIT_USAGE, "this is no join link: %s", error);
	return EXIT_DONE;
}

static int read_link_file(const char *path, struct join_link *out)
{
	char text[LINK_MAX + 1] = "";
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	int code, error;

	if (!file)
		return complain(EXIT_USAGE, "%s cannot be read: %s", path, strerror(errno));
	path = file == stdin ? "standard input" : path;
	setvbuf(file, NULL, _IONBF, 0); /* no copy in a buffer of stdio's */
	error = 0;
	if (!fgets(text, sizeof(text), file)) {
		error = ferror(file) ? errno : ENODATA;
		text[0] = '\0';
	}
	if (file != stdin)
		fclose(file);
	if (error == ENODATA)
		code = complain(EXIT_USAGE, "%s is empty: a join link is expected there", path);
	else if (error)
		code = complain(EXIT_USAGE, "%s cannot be read: %s", path, strerror(error));
	else
		code = parse_link(out, text);
	secret_wipe(text, sizeof(text));
	return code;
}

int enrol_read_link(struct cli *cli, struct join_link *out)
{
	const char *given = cli->args.count ? cli->args.items[0] : NULL;
	char *copy;
	int code;

	if (given && cli->link_file)
		return complain(EXIT_USAGE, "a link and --link-file: give one of them");
	if (!given && !cli->link_file)
		return complain(EXIT_USAGE,
				"usage: wg-mesh join LINK|-|--link-file FILE (the coordinator's "
				"`key create` prints a link)");
	if (!given || strcmp(given, "-") == 0)
		return read_link_file(given ? given : cli->link_file, out);
	copy = xstrdup(given);
	wipe_argument(cli->argv, given);
	code = parse_link(out, copy);
	secret_wipe(copy, strlen(copy));
	free(copy);
	return code;
}

static json_t *words_json(const struct words *words)
{
	json_t *list = json_array();

	for (size_t i = 0; i < words->count; i++)
		json_array_append_new(list, json_string(words->items[i]));
	return list;
}

static int ask(json_t *request, json_t **answer, char why[static ENROL_WHY])
{
	const char *const argv[] = {run_agent_path(), "--register", NULL};
	char *text = js_dump(request), error[JS_ERROR];
	struct run run = {
		.argv = argv, .input = text, .input_len = strlen(text), .timeout_ms = REGISTER_MS};
	struct run_result result;
	const char *detail;
	int code;

	js_wipe(request, "private_key");
	js_wipe(request, "new_private_key");
	json_decref(request);
	run_program(&run, &result);
	secret_wipe(text, strlen(text));
	free(text);
	*answer = result.error ? NULL : js_load(result.output.data, result.output.len, error);
	detail = json_string_value(json_object_get(*answer, "detail"));
	code = result.exit_code == EXIT_NOT_REACHABLE ? EXIT_NOT_REACHABLE : EXIT_FAILED;
	why[0] = '\0';
	if (result.error == -ETIMEDOUT)
		snprintf(why, ENROL_WHY, "%s gave no answer in %d s", argv[0], REGISTER_MS / 1000);
	else if (result.error)
		snprintf(why, ENROL_WHY, "%s cannot be run: %s", argv[0], strerror(-result.error));
	else if (!*answer)
		snprintf(why, ENROL_WHY, "%s did not do its work: %.200s", argv[0],
			 *run_last_line(&result) ? run_last_line(&result)
						 : "it may be of another version");
	else if (result.exit_code)
		snprintf(why, ENROL_WHY, "%s",
			 detail ? detail : "the coordinator refused without a reason");
	else
		code = EXIT_DONE;
	run_fini(&result);
	if (code) {
		json_decref(*answer);
		*answer = NULL;
	}
	return code;
}

int enrol_register(const struct enrolment *e, bool preview, json_t **answer)
{
	char why[ENROL_WHY];
	json_t *request;
	int code;

	request = json_pack("{s:s,s:o,s:s,s:o,s:s,s:i,s:o,s:b,s:o,s:b}", "url", e->link->origin,
			    "pin", js_from_string(*e->link->pin ? e->link->pin : NULL), "join_key",
			    e->link->key, "private_key", js_from_key(e->private_key), "name",
			    e->name, "listen_port", (int)e->listen_port, "advertised_routes",
			    words_json(e->advertise), "exit_node", e->exit_node, "tags",
			    words_json(e->tags), "preview", preview);
	code = ask(request, answer, why);
	return code ? complain(code, "%s", why) : EXIT_DONE;
}

/* What every request has that is made for a state. */
static json_t *request_of(const struct state *state, const struct key *private_key)
{
	json_t *pins = json_array();

	for (size_t i = 1; i < state->pin_count; i++)
		json_array_append_new(pins, json_string(state->pins[i]));
	return json_pack(
		"{s:s,s:o,s:o,s:s,s:o,s:o}", "url", state->coordinator_url, "pin",
		js_from_string(state->pin_count ? state->pins[0] : NULL), "pins", pins, "agent_id",
		state->agent_id, "private_key", js_from_key(private_key), "server_key",
		key_is_zero(&state->server_key) ? json_null() : js_from_key(&state->server_key));
}

struct change { /* of our key, or a good-bye */
	const struct state *state;
	const struct key *private_key, *new_key;
	bool again;
};

/* Any coordinator of the mesh will do; of those away, the first is named. */
static int ask_any(json_t *(*make)(const struct change *change),
		   const struct change *change, json_t **answer, char why[static ENROL_WHY])
{
	int code = ask(make(change), answer, why);
	char other[ENROL_WHY];

	for (size_t i = 0; code == EXIT_NOT_REACHABLE && i < change->state->other_count; i++) {
		json_t *request = make(change);

		json_object_set_new(request, "url", json_string(change->state->others[i]));
		/* The one that gave no answer may have changed the key: that is asked first. */
		if (json_object_get(request, "again"))
			json_object_set_new(request, "again", json_true());
		code = ask(request, answer, other);
		if (code != EXIT_NOT_REACHABLE)
			memcpy(why, other, sizeof(other));
	}
	return code;
}

static json_t *rekey_request(const struct change *change)
{
	json_t *request = request_of(change->state, change->private_key);

	json_object_set_new(request, "rekey", json_true());
	json_object_set_new(request, "again", json_boolean(change->again));
	json_object_set_new(request, "new_private_key", js_from_key(change->new_key));
	return request;
}

int enrol_rekey(const struct state *state, const struct key *private_key, const struct key *new_key,
		bool again, json_t **answer, char why[static ENROL_WHY])
{
	const struct change change = {state, private_key, new_key, again};

	return ask_any(rekey_request, &change, answer, why);
}

static json_t *leave_request(const struct change *change)
{
	json_t *request = request_of(change->state, change->private_key);

	json_object_set_new(request, "deregister", json_true());
	json_object_set_new(request, "token", js_from_string(change->state->token));
	return request;
}

int enrol_deregister(const struct state *state, const struct key *private_key,
		     char why[static ENROL_WHY])
{
	const struct change change = {.state = state, .private_key = private_key};
	json_t *answer;
	int code = ask_any(leave_request, &change, &answer, why);

	json_decref(answer);
	return code;
}
