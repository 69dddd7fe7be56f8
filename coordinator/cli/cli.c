/*
 * cli.c - the table of administration commands, and how they are asked. Printing is in cli_print.c.
 */
#include "cli.h"
#include "coordinator/backup.h"
#include "cli_device.h"
#include "cli_follow.h"
#include "cli_password.h"
#include "cli_policy.h"
#include "cli_print.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/secret.h"
#include "lib/sock.h"
#include "lib/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* For a request to go, and for the next part of its answer to come: the coordinator itself gives a
 * database up long before. */
#define ANSWER_S 30

static const struct arg network_args[] = {
	{"cidr", "cidr", ARG_VALUE, "CIDR", "IPv4 range, such as 10.44.0.0/16; needed"},
	{"cidr6", "cidr6", ARG_VALUE, "CIDR", "IPv6 range, such as fd12:3456::/64"},
	{"approve", "approve", ARG_FLAG, NULL, "agents that join wait for agent approve"},
	{0},
};
static const struct arg set_args[] = {
	{"approve", "approve", ARG_VALUE, "on|off", "whether agents that join wait for agent approve; needed"},
	{0},
};
static const struct arg key_args[] = {
	{"network", "network", ARG_VALUE, "NETWORK", "where it leads (default: default)"},
	{"reusable", "reusable", ARG_FLAG, NULL, "for any number of agents"},
	{"expires", "expires", ARG_VALUE, "TIME", "1h (default), 1h30m, 30d, 1w, ..., never"},
	{"tag", "tags", ARG_LIST, "TAG", "given to those who join by it; may repeat"},
	{"name", "name", ARG_VALUE, "NAME", "only for an agent of this name"},
	{"ephemeral", "ephemeral", ARG_FLAG, NULL, "agents are removed when away for half an hour"},
	{0},
};
static const struct arg agent_args[] = {
	{"network", "network", ARG_VALUE, "NETWORK", "of this network"},
	{0},
};
static const struct arg tag_args[] = {
	{"network", "network", ARG_VALUE, "NETWORK", "of this network"},
	{"tag", "tags", ARG_LIST, "TAG", "the same as a word; may repeat"},
	{"none", "none", ARG_FLAG, NULL, "takes all tags away"},
	{0},
};
static const struct arg expire_args[] = {
	{"network", "network", ARG_VALUE, "NETWORK", "of this network"},
	{"in", "in", ARG_VALUE, "TIME", "not now but in 30d, ...; never takes it back"},
	{0},
};
static const struct arg check_args[] = {
	{"offline", "offline", ARG_FLAG, NULL, "look at the file alone, with no coordinator running"},
	{0},
};
static const struct arg apply_args[] = {
	{"confirm", "confirm", ARG_VALUE, "SECONDS", "go back unless it is confirmed within this time"},
	{0},
};
static const struct arg user_args[] = {
	{"role", "role", ARG_VALUE, "ROLE", "viewer, operator or admin; needed"},
	{"network", "network", ARG_VALUE, "NETWORK", "in this network only"},
	{"no-password", "no_password", ARG_FLAG, NULL, "logs in by a link (user link), until a password is set"},
	{0},
};
static const struct arg role_args[] = {
	{"network", "network", ARG_VALUE, "NETWORK", "in this network only"},
	{0},
};
static const struct arg token_args[] = {
	{"user", "user", ARG_VALUE, "USER", "may what this user may, at most"},
	{"name", "name", ARG_VALUE, "NAME", "what it is for"},
	{"role", "role", ARG_VALUE, "ROLE", "viewer, operator or admin; needed without --user"},
	{"network", "networks", ARG_LIST, "NETWORK", "in this network only; may repeat"},
	{"scope", "scopes", ARG_LIST, "SCOPE", "read, write, agents:read, keys:write, ...; may repeat"},
	{"expires", "expires", ARG_VALUE, "TIME", "90d (default), 1h, ..., never"},
	{0},
};
static const struct arg relay_args[] = {
	{"region", "region", ARG_VALUE, "REGION", "how it is called, such as fra; needed"},
	{"key", "key", ARG_VALUE, "KEY", "its public key"},
	{"stun", "stun", ARG_LIST, "HOST:PORT", "its STUN server; may repeat"},
	{0},
};
static const struct arg peer_args[] = {
	{"via", "agent", ARG_VALUE, "AGENT", "its gateway, which it reaches and nobody else; needed"},
	{"network", "network", ARG_VALUE, "NETWORK", "in this network, where AGENT is in several"},
	{"public-key", "public_key", ARG_VALUE, "KEY", "the device has made its own key"},
	{"endpoint", "endpoint", ARG_VALUE, "HOST:PORT", "where the device finds AGENT (default: as known)"},
	{"qr", "qr", ARG_FLAG, NULL, "a QR code too where standard output is no terminal"},
	{"no-qr", "no_qr", ARG_FLAG, NULL, "none on a terminal either"},
	{0},
};
static const struct arg audit_args[] = {
	{"network", "network", ARG_VALUE, "NETWORK", "of this network"},
	{"follow", "follow", ARG_FLAG, NULL, "go on until interrupted"},
	{0},
};

#define DB {"db", "db", ARG_VALUE, "URL", "sqlite:PATH or postgres://USER@HOST/DATABASE"}
static const struct arg local_args[] = {
	DB,
	{0},
};
static const struct arg restore_args[] = {
	DB,
	{"readmit", "readmit", ARG_VALUE, "TIME", "how long agents that are newer than the backup may come back "
						   "(24h; 0: not at all)"},
	{0},
};
static const struct arg migrate_args[] = {
	DB,
	{"to", "to", ARG_VALUE, "URL", "an empty database; needed"},
	{0},
};

const struct command commands[] = {
	{"network create", {"name"}, NULL, network_args, print_message, "make a network", NULL},
	{"network list", {NULL}, NULL, NULL, print_networks, "networks and their ranges", NULL},
	{"network set", {"name"}, NULL, set_args, print_message, "whether who joins waits for approval", NULL},
	{"network remove", {"name"}, NULL, NULL, print_message, "remove a network without agents", NULL},
	{"key create", {NULL}, NULL, key_args, print_link, "print a join link", NULL},
	{"key list", {NULL}, NULL, NULL, print_keys, "join keys (the links themselves are not kept)", NULL},
	{"key revoke", {"id"}, NULL, NULL, print_message, "end a join key", NULL},
	{"agent list", {NULL}, NULL, agent_args, print_agents, "agents", NULL},
	{"agent show", {"agent"}, NULL, agent_args, print_agent, "all about one agent", NULL},
	{"agent rename", {"agent", "name"}, NULL, agent_args, print_message, "give an agent another name", NULL},
	{"agent tag", {"agent"}, "tags", tag_args, print_message, "set an agent's tags: those named, and no others", NULL},
	{"agent approve", {"agent"}, NULL, agent_args, print_message, "let an agent in that waits for it, or has expired", NULL},
	{"agent expire", {"agent"}, NULL, expire_args, print_message, "make an agent join again", NULL},
	{"agent remove", {"agent"}, NULL, agent_args, print_message, "cut an agent off, at once, with the devices behind it", NULL},
	{"route list", {NULL}, NULL, agent_args, print_routes, "routes that agents advertise", NULL},
	{"route approve", {"agent", "prefix"}, NULL, agent_args, print_message,
	 "let peers use a route (or exit: all that it advertises of 0.0.0.0/0 and ::/0)", NULL},
	{"route revoke", {"agent", "prefix"}, NULL, agent_args, print_message, "no longer", NULL},
	{"peer add", {"name"}, NULL, peer_args, print_device, "configuration for a stock WireGuard app", NULL},
	{"peer list", {NULL}, NULL, agent_args, print_devices, "devices without an agent", NULL},
	{"peer remove", {"name"}, NULL, agent_args, print_message, "cut a device off", NULL},
	{"policy check", {"file"}, NULL, check_args, print_policy_check,
	 "is FILE (- for standard input) right? 2: it has a mistake; 1: a test fails", NULL},
	{"policy test", {"file"}, NULL, NULL, print_policy_tests,
	 "how the tests in FILE go; 2: it has a mistake; 1: one fails", NULL},
	{"policy show", {NULL}, NULL, NULL, print_policy, "the policy in force", NULL},
	{"policy diff", {"file"}, NULL, NULL, print_policy_diff, "what FILE would change", NULL},
	{"policy apply", {"file"}, NULL, apply_args, print_policy_applied, "put FILE in force", NULL},
	{"policy confirm", {NULL}, NULL, NULL, print_message, "keep what was applied with --confirm", NULL},
	{"policy rollback", {NULL}, NULL, NULL, print_message, "take back what waits to be confirmed", NULL},
	{"policy explain", {"from", "to", "port"}, NULL, agent_args, print_verdict, "may FROM reach TO at PROTO/PORT, and why",
	 NULL},
	{"user add", {"name"}, NULL, user_args, print_message, "add a user; asks for the password", NULL},
	{"user list", {NULL}, NULL, NULL, print_users, "users and their roles", NULL},
	{"user passwd", {"user"}, NULL, NULL, print_message, "set a password; ends the user's sessions", NULL},
	{"user role", {"user", "role"}, NULL, role_args, print_message, "give a role, or none; a higher one ends the user's sessions", NULL},
	{"user link", {"user"}, NULL, NULL, print_link, "print a dashboard link that logs the user in, once", NULL},
	{"user remove", {"user"}, NULL, NULL, print_message, "remove a user, tokens and sessions", NULL},
	{"token create", {NULL}, NULL, token_args, print_secret, "print an API token, once", NULL},
	{"token list", {NULL}, NULL, NULL, print_tokens, "API tokens and sessions", NULL},
	{"token revoke", {"id"}, NULL, NULL, print_message, "end a token or session", NULL},
	{"relay add", {"url"}, NULL, relay_args, print_message, "tell agents of a relay (URL, or - without one)", NULL},
	{"relay list", {NULL}, NULL, NULL, print_relays, "relays that were added", NULL},
	{"relay remove", {"id"}, NULL, NULL, print_message, "no longer", NULL},
	{"audit", {NULL}, NULL, audit_args, print_audit, "who did what", NULL},
	{"backup", {"file"}, NULL, local_args, print_message, "write all there is, keys too, into a file", backup_run},
	{"restore", {"file"}, NULL, restore_args, print_moved, "go back to a backup (not while serving)", restore_run},
	{"migrate", {NULL}, NULL, migrate_args, print_moved, "move to another database (not while serving)", migrate_run},
	{0},
};

/* The connection; else -EXIT_NOT_RUNNING or -EXIT_NOT_REACHABLE, which was said. */
static int connect_to(const char *run_dir)
{
	char *path = xasprintf("%s/coordinator.sock", run_dir);
	int fd = sock_connect_unix(path);
	bool none = fd == -ECONNREFUSED || fd == -ENOENT;

	if (none)
		fprintf(stderr, "wg-mesh-coordinator: no coordinator is running here (%s): start it with "
			"wg-mesh-coordinator serve\n", path);
	else if (fd == -EACCES || fd == -EPERM)
		fprintf(stderr, "wg-mesh-coordinator: the coordinator at %s is not yours to ask: use sudo\n", path);
	else if (fd < 0)
		fprintf(stderr, "wg-mesh-coordinator: cannot reach the coordinator at %s: %s\n", path,
			strerror(-fd));
	free(path);
	if (fd < 0)
		return none ? -EXIT_NOT_RUNNING : -EXIT_NOT_REACHABLE;
	return fd;
}

/* How long reading and writing wait; 0: for ever. */
static void wait_at_most(int fd, int seconds)
{
	struct timeval wait = {.tv_sec = seconds};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
}

/* A coordinator that is busy answers before it has read all: then what it says counts. False: the time is
 * over. */
static bool send_request(int fd, const char *command, json_t *arguments)
{
	json_t *request = json_pack("{sssO}", "command", command, "arguments", arguments);
	char *text = js_dump(request);
	size_t len = strlen(text), sent = 0;
	uint64_t until_ms = clock_ms() + ANSWER_S * 1000ull;
	ssize_t wrote = 0;
	bool late = false;

	text[len++] = '\n'; /* in place of the NUL */
	for (; sent < len && !late && (wrote >= 0 || errno == EINTR); sent += wrote > 0 ? (size_t)wrote : 0) {
		wrote = send(fd, text + sent, len - sent, MSG_NOSIGNAL);
		late = (wrote < 0 && errno == EAGAIN) || clock_ms() >= until_ms;
	}
	secret_wipe(text, len); /* a password may be in it */
	free(text);
	json_decref(request);
	return !late;
}

static bool read_answer(FILE *file, json_t **answer)
{
	char *line = NULL, error[JS_ERROR];
	size_t size = 0;
	bool late;

	if (getline(&line, &size, file) > 0)
		*answer = js_load(line, strlen(line), error);
	late = ferror(file) && errno == EAGAIN;
	if (line)
		secret_wipe(line, size);
	free(line);
	return !late;
}

bool cli_ask(const char *run_dir, const char *command, json_t *arguments, json_t **answer, FILE **stream,
	     int *code)
{
	int fd = connect_to(run_dir);
	FILE *file = NULL;
	bool asked;

	*answer = NULL;
	*code = fd < 0 ? -fd : EXIT_FAILED;
	if (fd >= 0 && !fcntl(fd, F_SETFL, 0)) /* here there is time to wait */
		file = fdopen(fd, "r");
	if (!file) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	wait_at_most(fd, ANSWER_S);
	asked = send_request(fd, command, arguments) && read_answer(file, answer);
	if (!asked) {
		*code = EXIT_NOT_REACHABLE;
		fprintf(stderr, "wg-mesh-coordinator: the coordinator is there and gives no answer in %d seconds; "
			"what was asked for may yet be done: see its log\n", ANSWER_S);
	}
	wait_at_most(fd, 0);
	if (stream && asked)
		*stream = file;
	else
		fclose(file);
	return asked;
}

int cli_judge(const json_t *answer)
{
	if (json_is_true(json_object_get(answer, "ok")))
		return EXIT_DONE;
	if (json_is_object(answer))
		fprintf(stderr, "wg-mesh-coordinator: %s\n",
			json_string_value(json_object_get(answer, "detail")));
	else
		fprintf(stderr, "wg-mesh-coordinator: the coordinator ended without an answer; see its log\n");
	return json_is_object(answer) ? (int)json_integer_value(json_object_get(answer, "exit")) : EXIT_FAILED;
}

/* A refusal in the words of the command line, where the remedy is another command, or an option instead of a
 * field; as cli_judge. */
static int judge(const struct command *command, const json_t *options, const json_t *answer)
{
	static const char field[] = "say which (network)";
	const char *code = json_string_value(json_object_get(answer, "code"));
	const char *user = json_string_value(json_object_get(options, "user"));
	const char *detail = json_string_value(json_object_get(answer, "detail"));
	const char *which = detail ? strstr(detail, field) : NULL;

	if (which && !which[strlen(field)]) {
		fprintf(stderr, "wg-mesh-coordinator: %.*ssay which with --network NETWORK\n", (int)(which - detail),
			detail);
		return EXIT_USAGE;
	}
	if (!code || !user || strcmp(code, "unknown_user") || strcmp(command->name, "user link"))
		return cli_judge(answer);
	fprintf(stderr, "wg-mesh-coordinator: there is no user %s: add one first, with user add %s --role admin "
		"--no-password\n", user, user);
	return EXIT_FAILED;
}

/* Of what was made, and cannot be shown a second time. */
static void say_lost(const struct command *command, const json_t *options, const json_t *result)
{
	const char *id = json_string_value(json_object_get(result, "id"));
	const json_t *token = json_object_get(result, "token");
	const char *name = json_string_value(json_object_get(options, "name"));

	if (!strcmp(command->name, "key create"))
		fprintf(stderr, "wg-mesh-coordinator: the join key %s was made, its link is lost: key revoke %s ends it\n", id, id);
	else if (token && command->print == print_secret) {
		id = json_string_value(json_object_get(token, "id"));
		fprintf(stderr, "wg-mesh-coordinator: the token %s was made, its secret is lost: token revoke %s ends it\n", id, id);
	} else if (command->print == print_device)
		fprintf(stderr, "wg-mesh-coordinator: the device %s was added, its configuration is lost: peer remove %s takes it "
			"away\n", name, name);
	else if (!strcmp(command->name, "user link"))
		fputs("wg-mesh-coordinator: a link was made and is lost: with the next one it is gone\n", stderr);
}

static void print_result(const struct command *command, const json_t *options, json_t *result, bool as_json)
{
	if (command->print == print_device)
		cli_device_finish(result);
	if (as_json)
		print_json(result);
	else
		command->print(result);
	if (fflush(stdout) || ferror(stdout))
		say_lost(command, options, result);
}

/* Nothing is begun whose result could not be told. */
static bool can_tell(void)
{
	if (output_closed())
		fputs("wg-mesh-coordinator: standard output is closed: nothing was done; where its result is not wanted, "
		      "send it to /dev/null\n", stderr);
	return !output_closed();
}

/* Said here, in the words of the command line, before anybody is asked for a password. */
static bool has_needed(const struct command *command, const json_t *options)
{
	static const struct {
		const char *command, *key, *option;
	} needed[] = {
		{"network create", "cidr", "--cidr CIDR, such as 10.44.0.0/16"},
		{"network set", "approve", "--approve on or off"},
		{"peer add", "agent", "--via AGENT, its gateway"},
		{"user add", "role", "--role viewer, operator or admin"},
		{"relay add", "region", "--region REGION, such as fra"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (strcmp(needed[i].command, command->name) || json_object_get(options, needed[i].key))
			continue;
		fprintf(stderr, "wg-mesh-coordinator: %s needs %s\n", command->name, needed[i].option);
		return false;
	}
	return true;
}

static bool on_or_off(const struct command *command, json_t *options, const char *key)
{
	const char *text = json_string_value(json_object_get(options, key));
	bool on = !strcmp(text, "on");

	if (!on && strcmp(text, "off")) {
		fprintf(stderr, "wg-mesh-coordinator: %s: --%s is on or off, not %s\n", command->name, key, text);
		return false;
	}
	json_object_set_new(options, key, json_boolean(on));
	return true;
}

/* A word that was forgotten must not take all tags away. */
static bool has_tags(json_t *options)
{
	bool none = json_object_get(options, "none");

	if (none == (json_object_get(options, "tags") != NULL)) {
		fprintf(stderr, "wg-mesh-coordinator: agent tag AGENT TAG... sets its tags, agent tag AGENT --none takes all "
			"away%s\n", none ? ": not both at once" : "");
		return false;
	}
	if (none)
		json_object_set_new(options, "tags", json_array());
	json_object_del(options, "none");
	return true;
}

/* What the command line says otherwise than the API. */
static bool prepare(const struct command *command, json_t *options)
{
	const char *url = json_string_value(json_object_get(options, "url"));

	if (!strcmp(command->name, "key create") && !json_object_get(options, "network"))
		json_object_set_new(options, "network", json_string("default"));
	if (!strcmp(command->name, "network set") && !on_or_off(command, options, "approve"))
		return false;
	if (!strcmp(command->name, "agent tag") && !has_tags(options))
		return false;
	if (url && !strcmp(url, "-"))
		json_object_del(options, "url");
	if (command->print == print_device)
		cli_device_prepare(options);
	if (str_has_prefix(command->name, "policy ") && !cli_policy_prepare(options))
		return false;
	if (!strcmp(command->name, "user passwd") ||
	    (!strcmp(command->name, "user add") && !json_object_get(options, "no_password")))
		return cli_password(options);
	return true;
}

int cli_run_local(const struct command *command, const struct config *config, json_t *options,
		  const char *const *words, size_t count)
{
	json_t *result;
	int code;

	if (!can_tell())
		return EXIT_FAILED;
	result = json_object();
	code = cli_take_words(command, options, words, count) ? command->local(config, options, result) : EXIT_USAGE;
	if (!code)
		print_result(command, options, result, json_is_true(json_object_get(options, "json")));
	json_decref(result);
	return code;
}

int cli_run(const struct command *command, const char *run_dir, json_t *options,
	    const char *const *words, size_t count)
{
	bool as_json = json_is_true(json_object_get(options, "json"));
	json_t *answer, *result;
	FILE *stream;
	int code;

	if (!can_tell())
		return EXIT_FAILED;
	if (!cli_take_words(command, options, words, count) || !has_needed(command, options) ||
	    !prepare(command, options))
		return EXIT_USAGE;
	if (json_is_true(json_object_get(options, "offline")))
		return cli_policy_offline(options, as_json);
	if (!cli_ask(run_dir, command->name, options, &answer, &stream, &code))
		return code;
	code = judge(command, options, answer);
	result = json_object_get(answer, "result");
	if (!code && json_is_true(json_object_get(options, "follow")))
		code = cli_follow(run_dir, result, stream, as_json);
	else if (!code)
		print_result(command, options, result, as_json);
	fclose(stream);
	if (!code && json_integer_value(json_object_get(result, "failed")) > 0)
		code = EXIT_FAILED;
	if (!code && command->print == print_policy_applied)
		code = cli_policy_keep(run_dir, result);
	json_decref(answer);
	return code;
}
