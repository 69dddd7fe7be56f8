/*
 * ask.c - the commands that are one question to the agent: status, plugins, explain, reload, and
 * the two that are several: ping and events.
 */
#include "agent.h"
#include "config.h"
#include "lib/clock.h"
#include "status_text.h"
#include "table.h"

#include <errno.h>
#include <poll.h>

#define ANSWER_MS     5000
#define PING_MS       6000 /* the agent itself gives a probe 5 s */
#define PING_PAUSE_MS 1000

static json_t *request(const char *command)
{
	return json_pack("{s:s}", "command", command);
}

/* As one document; numbers as they were written, not to the last bit of a double. */
static void print_json(json_t *document)
{
	if (json_is_object(document) && !json_object_get(document, "schema"))
		json_object_set_new(document, "schema", json_integer(1));
	json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	putchar('\n');
}

static void print_buf(struct buf *buf)
{
	fwrite(buf->data, 1, buf->len, stdout);
	buf_free(buf);
}

int run_status(struct cli *cli)
{
	char why[STATUS_WHY];
	struct buf text;
	json_t *status;
	int code = agent_ask(cli, request("status"), ANSWER_MS, &status);

	if (code)
		return code;
	if (cli->json) {
		print_json(status);
	} else if (!cli->healthy) {
		buf_init(&text, 0);
		status_text(&text, status, clock_wall_ms());
		print_buf(&text);
	}
	if (cli->healthy && !status_healthy(status, why))
		code = complain(EXIT_FAILED, "%s: %s", cli->interface, why);
	json_decref(status);
	return code;
}

/* instance NULL: it lies in the directory and is not configured. */
static void plugin_row(struct table *table, const json_t *plugin, const json_t *instance)
{
	const char *state = instance ? words_text(instance, "state") : "not used";
	const char *error = words_text(instance ? instance : plugin, "error");

	if (!instance && *error)
		state = "failed";
	table_add(table, words_text(plugin, "name"));
	table_add(table, words_text(plugin, "kind"));
	table_add(table, words_text(plugin, "form"));
	table_add(table, words_text(plugin, "version"));
	table_add(table, state);
	table_add(table, *error ? error : words_text(plugin, "summary"));
}

static void plugins_text(struct buf *out, const json_t *plugins)
{
	static const char *const heads[] = {"PLUGIN",  "KIND",  "FORM",
					    "VERSION", "STATE", "WHAT IT SAYS"};
	const json_t *instances;
	struct table table;
	json_t *plugin;
	size_t i, j;

	table_init(&table, ARRAY_SIZE(heads));
	for (i = 0; i < ARRAY_SIZE(heads); i++)
		table_add(&table, heads[i]);
	json_array_foreach(plugins, i, plugin)
	{
		instances = json_object_get(plugin, "instances");
		for (j = 0; j == 0 || j < json_array_size(instances); j++)
			plugin_row(&table, plugin, json_array_get(instances, j));
	}
	table_print(&table, out);
	table_fini(&table);
}

int run_plugins(struct cli *cli)
{
	struct buf text;
	json_t *answer;
	int code = agent_ask(cli, request("plugins"), ANSWER_MS, &answer);

	if (code)
		return code;
	if (cli->json) {
		print_json(answer);
	} else {
		buf_init(&text, 0);
		plugins_text(&text, json_object_get(answer, "plugins"));
		print_buf(&text);
	}
	json_decref(answer);
	return code;
}

/* "key=value" of every member that says something, for records whose keys are not known here. */
static void print_fields(const json_t *object, const char *const *leave_out)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		size_t i = 0;

		while (leave_out[i] && strcmp(leave_out[i], key) != 0)
			i++;
		if (leave_out[i] || json_is_null(value))
			continue;
		if (json_is_string(value))
			printf(strchr(json_string_value(value), ' ') ? " %s=\"%s\"" : " %s=%s", key,
			       words_text(object, key));
		else if (json_is_number(value))
			printf(" %s=%.10g", key, json_number_value(value));
		else if (json_is_boolean(value))
			printf(" %s=%s", key, json_is_true(value) ? "yes" : "no");
		else if (json_is_array(value))
			printf(" %s=%s", key, words_list(object, key));
	}
}

int run_explain(struct cli *cli)
{
	static const char *const leave_out[] = {"time", NULL};
	static const char *const head[] = {"schema",  "peer",       "path", "ok",
					   "records", "candidates", NULL};
	json_t *answer, *record;
	size_t i;
	int code = agent_ask(
		cli, json_pack("{s:s,s:o}", "command", "explain", "peer", js_from_text(cli->args.items[0])),
		ANSWER_MS, &answer);

	if (code)
		return code;
	if (cli->json) {
		print_json(answer);
	} else {
		printf("%s: path %s", words_text(answer, "peer"), words_text(answer, "path"));
		print_fields(answer, head);
		putchar('\n');
		json_array_foreach(json_object_get(answer, "candidates"), i, record)
		{
			fputs("  candidate", stdout);
			print_fields(record, leave_out);
			putchar('\n');
		}
		json_array_foreach(json_object_get(answer, "records"), i, record)
		{
			printf("  %s", words_text(record, "time"));
			print_fields(record, leave_out);
			putchar('\n');
		}
	}
	json_decref(answer);
	return code;
}

/* join has written it there; the coordinator knows this host by it until it leaves. */
static void say_name_stays(const struct cli *cli)
{
	char error[YAML_ERROR];
	struct config *config = config_load(cli->paths.config, error);
	json_t *status = NULL;

	if (config && config->name && !agent_ask(cli, request("status"), ANSWER_MS, &status) &&
	    strcmp(config->name, words_text(status, "name")) != 0)
		complain(EXIT_DONE,
			 "name: %s in %s changes nothing: this host has joined as %s; `wg-mesh leave "
			 "%s`, then join with --name %s",
			 config->name, cli->paths.config, words_text(status, "name"), cli->interface,
			 config->name);
	json_decref(status);
	if (config)
		config_free(config);
}

int run_reload(struct cli *cli)
{
	json_t *answer;
	int code = agent_ask(cli, request("reload"), ANSWER_MS, &answer);

	json_decref(answer);
	if (!code)
		say_name_stays(cli);
	return code;
}

/* SPEC 2.1: "pong from NAME (IP) via direct 203.0.113.5:51820 in 12.3 ms", "via relay fra in ...".
 */
static bool print_pong(const json_t *pong)
{
	bool direct = strcmp(words_text(pong, "path"), "direct") == 0;

	printf("pong from %s (%s) via %s %s in %s\n", words_text(pong, "name"),
	       words_text(pong, "address"), words_text(pong, "path"),
	       words_text(pong, direct ? "endpoint" : "region"),
	       words_ms(json_object_get(pong, "latency_ms")));
	fflush(stdout);
	return direct;
}

/* One probe. *again: asking once more may have another result; that nobody is called so, or may not
 * be asked, stays as it is. */
static int ping_once(const struct cli *cli, bool *direct, bool *again)
{
	json_t *pong;
	int code = agent_exchange(
		cli, json_pack("{s:s,s:o}", "command", "ping", "peer", js_from_text(cli->args.items[0])),
		PING_MS, &pong);

	*again = false;
	if (code)
		return code;
	code = agent_refusal(pong);
	if (!code)
		*direct = print_pong(pong);
	*again = !code || strstr(words_text(pong, "error"), " does not answer");
	json_decref(pong);
	return code;
}

int run_ping(struct cli *cli)
{
	uint64_t count = cli->count ? cli->count : cli->until_direct ? 10 : 4;
	bool direct = false, again;
	uint64_t answered = 0;
	int code = EXIT_DONE;

	for (uint64_t i = 0; i < count && !(cli->until_direct && direct); i++) {
		if (i)
			poll(NULL, 0, PING_PAUSE_MS);
		code = ping_once(cli, &direct, &again);
		if (!again)
			return code;
		answered += !code;
	}
	if (cli->until_direct && !direct)
		return complain(
			EXIT_FAILED,
			"%s did not become direct in %llu pings: `wg-mesh explain %s %s` says why",
			cli->args.items[0], (unsigned long long)count, cli->interface,
			cli->args.items[0]);
	return answered ? EXIT_DONE : code;
}

static void print_event(const struct cli *cli, json_t *event)
{
	static const char *const leave_out[] = {"schema",    "time",   "event",
						"interface", "reason", NULL};

	if (cli->json) {
		if (!json_object_get(event, "schema"))
			json_object_set_new(event, "schema", json_integer(1));
		json_dumpf(event, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
	} else {
		printf("%s %s", words_text(event, "time"), words_text(event, "event"));
		print_fields(event, leave_out);
		if (*words_text(event, "reason"))
			printf(": %s", words_text(event, "reason"));
	}
	putchar('\n');
	fflush(stdout);
}

int run_events(struct cli *cli)
{
	struct agent agent;
	json_t *event;
	int code = agent_open(cli, &agent), error;

	if (code)
		return code;
	error = agent_send(&agent, "{\"command\":\"events\"}");
	if (!error)
		error = agent_next(&agent, ANSWER_MS, &event);
	if (!error) {
		code = agent_refusal(event);
		json_decref(event);
	}
	while (!error && !code && !ferror(stdout)) {
		error = agent_next(&agent, -1, &event);
		if (!error) {
			print_event(cli, event);
			json_decref(event);
		}
	}
	agent_close(&agent);
	if (error == -EPIPE)
		return complain(EXIT_NOT_RUNNING, "the agent of %s has ended", cli->interface);
	return error ? complain(EXIT_NOT_REACHABLE, "the agent of %s does not answer: %s",
				cli->interface, strerror(-error))
		     : code;
}
