/*
 * plugin_exec.c - the second form of a plugin: any executable, asked by verbs.
 *
 * argv[1] is the verb; the environment has WGM_ABI, WGM_KIND, WGM_INTERFACE, WGM_PORT and one
 * WGM_OPTION_NAME for each option that has a value (a list: one a line). Standard output is the
 * answer in lines of words, standard error goes to the log. No shell, and nothing is evaluated.
 *
 *   describe  "abi 1", "kind discovery", "version V", "summary TEXT", "every DURATION",
 *             "option NAME TYPE [required] [list] [secret] [default=VALUE]"
 *   refresh   "candidate host|reflexive|mapped|static IP:PORT [PRIORITY]",
 *             "nat MAPPING FILTERING" in words of RFC 5780, or "nat blocked"
 *
 * Exit: 0 done, 3 nothing there, 75 try later, 78 bad configuration (not tried again before a
 * reload), others: failed. Its file is judged again each time and run by the judged descriptor.
 */
#include "lib/addr.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "lib/str.h"
#include "plugin_instance.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define EXIT_NOTHING 3
#define EXIT_LATER   75
#define EXIT_CONFIG  78
#define LATER_MS     60000
#define EVERY_MIN_MS 1000
#define WORDS_MAX    8
#define ENV_MAX      (PLUGIN_OPTION_MAX + 8)

struct plugin_script {
	struct plugin_instance *instance;
	struct proc *proc;
	struct loop_timer timer;
	bool again; /* asked while it was running */
	bool described;
	uint64_t every_ms;
	uint32_t kind;
	char *version, *summary;
	struct wgm_option table[PLUGIN_OPTION_MAX + 1];
	size_t option_count;
};

void plugin_script_free(struct plugin_script *script)
{
	if (!script)
		return;
	if (script->proc)
		proc_kill(script->proc);
	timer_stop(&script->timer);
	for (size_t i = 0; i < script->option_count; i++) {
		free((char *)(uintptr_t)script->table[i].name);
		free((char *)(uintptr_t)script->table[i].fallback);
	}
	free(script->version);
	free(script->summary);
	free(script);
}

/* ---- running it ------------------------------------------------------------------------- */

static void env_options(const struct plugin_values *values, char **env, size_t *count)
{
	for (size_t i = 0; i < values->count; i++) {
		const struct plugin_values_of *of = &values->of[i];
		struct buf text = {.limit = 65536};

		if (!of->count)
			continue;
		buf_addf(&text, "WGM_OPTION_%s=", values->table[i].name);
		for (size_t c = strlen("WGM_OPTION_"); text.data[c] != '='; c++)
			text.data[c] = (uint8_t)toupper(text.data[c]);
		for (unsigned v = 0; v < of->count; v++)
			buf_addf(&text, "%s%s", v ? "\n" : "", of->values[v].text);
		env[(*count)++] = (char *)text.data;
	}
}

static int run(struct plugin_script *script, const char *verb, proc_fn *fn)
{
	struct plugin_instance *instance = script->instance;
	const char *argv[] = {instance->path, verb, NULL};
	struct proc_command command = {.argv = argv};
	enum plugin_form form;
	char *env[ENV_MAX] = {NULL};
	size_t count = 0;

	command.run_fd = plugin_open_file(instance->host->dir, instance->kind, instance->name, &form,
					  instance->path, instance->error);
	if (command.run_fd < 0)
		return command.run_fd;
	env[count++] = xstrdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	env[count++] = xstrdup("LANG=C");
	env[count++] = xasprintf("WGM_ABI=%d", WGM_ABI_MAJOR);
	env[count++] = xasprintf("WGM_KIND=%s", plugin_kind_name(instance->kind));
	env[count++] = xasprintf("WGM_INTERFACE=%s", instance->api.interface_name);
	env[count++] = xasprintf("WGM_PORT=%u", instance->api.port(&instance->api));
	env_options(&instance->values, env, &count);
	command.env = (const char *const *)env;
	script->proc = proc_start(instance->host->services.loop, &command, fn, script);
	if (!script->proc)
		snprintf(instance->error, sizeof(instance->error), "%s could not be started: %s",
			 instance->path, strerror(errno));
	close(command.run_fd);
	for (size_t i = 0; i < count; i++)
		free(env[i]);
	return script->proc ? 0 : -EIO;
}

static void log_errors(const struct plugin_script *script, const struct proc_result *result)
{
	char *line = buf_text(result->errors);

	for (int lines = 0; *line && lines < 10; lines++) {
		size_t len = strcspn(line, "\n");

		log_info("plugin", "plugin=%s text=\"%.*s\"", script->instance->label, (int)MIN(len, 300), line);
		line += len + (line[len] == '\n');
	}
}

PRINTF_LIKE(2, 3)
static bool wrong(struct plugin_script *script, const char *format, ...)
{
	struct plugin_instance *instance = script->instance;
	int len = snprintf(instance->error, sizeof(instance->error), "%s: ", instance->path);
	va_list args;

	va_start(args, format);
	vsnprintf(instance->error + len, sizeof(instance->error) - (size_t)len, format, args);
	va_end(args);
	return false;
}

/* Ends the line with NUL and takes its words apart; the last word keeps the rest of a long line. */
static size_t split(char *line, char *words[static WORDS_MAX])
{
	size_t count = 0;

	while (count < WORDS_MAX) {
		line += strspn(line, " \t\r");
		if (!*line)
			break;
		words[count++] = line;
		if (count == WORDS_MAX)
			break;
		line += strcspn(line, " \t\r");
		if (*line)
			*line++ = '\0';
	}
	return count;
}

/* Calls fn for each line that has words, until one is wrong. */
static bool each_line(struct plugin_script *script, struct buf *output, void *arg,
		      bool (*fn)(struct plugin_script *script, void *arg, char **words, size_t count))
{
	char *line = buf_text(output), *words[WORDS_MAX];

	while (line && *line) {
		char *next = strchr(line, '\n');
		size_t count;

		if (next)
			*next++ = '\0';
		count = split(line, words);
		if (count && !fn(script, arg, words, count))
			return false;
		line = next;
	}
	return true;
}

/* ---- describe ----------------------------------------------------------------------------- */

static const char *const type_words[] = {
	[WGM_STRING] = "string",     [WGM_BOOL] = "bool",	  [WGM_INT] = "int",
	[WGM_DURATION] = "duration", [WGM_ENDPOINT] = "endpoint", [WGM_PREFIX] = "prefix",
};

static bool read_option(struct plugin_script *script, char **words, size_t count)
{
	struct wgm_option *option = &script->table[script->option_count];

	if (count < 3 || script->option_count == PLUGIN_OPTION_MAX)
		return wrong(script, "describe: an option is written \"option NAME TYPE\", 32 at most");
	for (uint32_t type = 1; type < ARRAY_SIZE(type_words); type++)
		if (!strcmp(words[2], type_words[type]))
			option->type = type;
	if (!option->type)
		return wrong(script, "describe: option %.40s has the unknown type %.40s", words[1], words[2]);
	script->option_count++;
	option->name = xstrdup(words[1]);
	for (size_t i = 3; i < count; i++) {
		if (!strcmp(words[i], "required"))
			option->flags |= WGM_REQUIRED;
		else if (!strcmp(words[i], "list"))
			option->flags |= WGM_LIST;
		else if (!strcmp(words[i], "secret"))
			option->flags |= WGM_SECRET;
		else if (str_has_prefix(words[i], "default=") && !option->fallback)
			option->fallback = xstrdup(words[i] + strlen("default="));
		else
			return wrong(script, "describe: option %.40s: \"%.40s\" is not required, list, secret "
					     "or default=VALUE", words[1], words[i]);
	}
	return true;
}

/* The rest of a line, its words joined by single blanks. */
static char *join(char **words, size_t count)
{
	struct buf text = {.limit = 4096};

	for (size_t i = 1; i < count; i++)
		buf_addf(&text, "%s%s", i > 1 ? " " : "", words[i]);
	return text.data ? (char *)text.data : xstrdup("");
}

static bool read_description(struct plugin_script *script, void *arg, char **words, size_t count)
{
	const char *value = count > 1 ? words[1] : "";

	(void)arg;
	if (!strcmp(words[0], "abi")) {
		script->described = !strcmp(value, "1");
		return script->described ||
		       wrong(script, "it speaks plugin ABI %.20s, this is 1: write it for this version", value);
	}
	if (!strcmp(words[0], "kind")) {
		script->kind = plugin_kind_parse(value, strlen(value));
		return script->kind == script->instance->kind ||
		       wrong(script, "it says it is of kind %.40s: rename it to %.40s-NAME", value, value);
	}
	if (!strcmp(words[0], "version") && !script->version) {
		script->version = join(words, count);
		return true;
	}
	if (!strcmp(words[0], "summary") && !script->summary) {
		script->summary = join(words, count);
		return true;
	}
	if (!strcmp(words[0], "every"))
		return (parse_duration(value, &script->every_ms) && script->every_ms >= EVERY_MIN_MS) ||
		       wrong(script, "describe: \"every\" takes a duration of a second or more, such as 5m");
	if (!strcmp(words[0], "option"))
		return read_option(script, words, count);
	return wrong(script, "describe: the word \"%.40s\" is unknown: use abi, kind, version, summary, every, option",
		     words[0]);
}

/* ---- refresh -------------------------------------------------------------------------------- */

struct answer {
	struct wgm_candidate candidates[PLUGIN_FOUND_MAX];
	size_t count;
	struct wgm_nat nat;
};

static const struct {
	const char *word;
	uint32_t type;
} candidate_words[] = {
	{"host", WGM_HOST}, {"reflexive", WGM_SERVER_REFLEXIVE}, {"mapped", WGM_PORT_MAPPED}, {"static", WGM_STATIC},
};

static const struct {
	const char *word;
	uint32_t behaviour;
} nat_words[] = {
	{"unknown", 0},
	{"none", WGM_NAT_NONE},
	{"endpoint-independent", WGM_NAT_ENDPOINT_INDEPENDENT},
	{"address-dependent", WGM_NAT_ADDRESS_DEPENDENT},
	{"address-and-port-dependent", WGM_NAT_ADDRESS_AND_PORT_DEPENDENT},
};

static bool read_candidate(struct plugin_script *script, struct answer *answer, char **words, size_t count)
{
	struct wgm_candidate candidate = {0};
	struct sockaddr_storage storage;
	struct endpoint endpoint;
	uint64_t priority = 0;

	for (size_t i = 0; count > 1 && i < ARRAY_SIZE(candidate_words); i++)
		if (!strcmp(words[1], candidate_words[i].word))
			candidate.type = candidate_words[i].type;
	if (count < 3 || !candidate.type || !endpoint_parse(&endpoint, words[2]) ||
	    (count > 3 && (!parse_u64(words[3], &priority) || priority > UINT32_MAX)))
		return wrong(script, "refresh: a candidate is written \"candidate host|reflexive|mapped|static "
				     "IP:PORT [PRIORITY]\"");
	if (answer->count == PLUGIN_FOUND_MAX)
		return true;
	endpoint_to_sockaddr(&endpoint, &storage);
	memcpy(&candidate.addr, &storage, sizeof(candidate.addr));
	candidate.priority = (uint32_t)priority;
	answer->candidates[answer->count++] = candidate;
	return true;
}

static bool read_nat(struct plugin_script *script, struct answer *answer, char **words, size_t count)
{
	uint32_t *out[] = {&answer->nat.mapping, &answer->nat.filtering};
	unsigned known = 0;

	if (count == 2 && !strcmp(words[1], "blocked")) {
		answer->nat.udp_blocked = true;
		return true;
	}
	for (size_t w = 0; w < ARRAY_SIZE(out) && count == 3; w++)
		for (size_t i = 0; i < ARRAY_SIZE(nat_words); i++)
			if (!strcmp(words[w + 1], nat_words[i].word)) {
				*out[w] = nat_words[i].behaviour;
				known++;
			}
	return known == 2 || wrong(script, "refresh: NAT is written \"nat MAPPING FILTERING\" (none, "
					   "endpoint-independent, address-dependent, "
					   "address-and-port-dependent, unknown) or \"nat blocked\"");
}

static bool read_answer(struct plugin_script *script, void *arg, char **words, size_t count)
{
	if (!strcmp(words[0], "candidate"))
		return read_candidate(script, arg, words, count);
	if (!strcmp(words[0], "nat"))
		return read_nat(script, arg, words, count);
	return wrong(script, "refresh: the word \"%.40s\" is unknown: use candidate or nat", words[0]);
}

static void refresh_failed(struct plugin_script *script)
{
	struct plugin_instance *instance = script->instance;

	log_warn("plugin", "plugin=%s reason=\"%s\"", instance->label, instance->error);
	timer_start(&script->timer, LATER_MS);
}

static void publish(struct plugin_script *script, struct buf *output)
{
	struct wgm_host *api = &script->instance->api;
	struct answer answer = {0};

	if (output && !each_line(script, output, &answer, read_answer)) {
		refresh_failed(script);
		return;
	}
	script->instance->error[0] = '\0';
	api->found(api, answer.candidates, answer.count);
	api->nat(api, &answer.nat); /* also when it says nothing of it any more */
}

/* By itself it will not become good: silent, and what it told is withdrawn, until the next reload. */
static void refused(struct plugin_script *script)
{
	publish(script, NULL);
	wrong(script, "it calls its configuration bad (exit 78): see its words in the log, then reload");
	script->instance->state = PLUGIN_REFUSED;
	timer_stop(&script->timer);
	log_warn("plugin", "plugin=%s reason=\"%s\"", script->instance->label, script->instance->error);
}

static int script_refresh(void *self);

static void on_refreshed(void *arg, const struct proc_result *result)
{
	struct plugin_script *script = arg;

	script->proc = NULL;
	log_errors(script, result);
	if (script->every_ms)
		timer_start(&script->timer, script->every_ms);
	if (result->error) {
		wrong(script, "refresh: %s",
		      result->error == -ETIMEDOUT ? "it took longer than 10 s and was ended" :
						    strerror(-result->error));
		refresh_failed(script);
	} else if (result->exit_code == 0 || result->exit_code == EXIT_NOTHING) {
		publish(script, result->exit_code ? NULL : result->output);
	} else if (result->exit_code == EXIT_LATER) {
		timer_start(&script->timer, LATER_MS);
	} else if (result->exit_code == EXIT_CONFIG) {
		refused(script);
		return;
	} else {
		wrong(script, "refresh: it failed with exit code %d", result->exit_code);
		refresh_failed(script);
	}
	if (script->again) {
		script->again = false;
		script_refresh(script);
	}
}

static int script_refresh(void *self)
{
	struct plugin_script *script = self;

	if (script->proc) {
		script->again = true;
		return 0;
	}
	timer_stop(&script->timer);
	if (run(script, "refresh", on_refreshed))
		refresh_failed(script);
	return 0;
}

static void on_timer(void *arg)
{
	script_refresh(arg);
}

/* ---- as a struct wgm_plugin -------------------------------------------------------------------- */

static int script_open(struct wgm_host *api, void **self)
{
	*self = container_of(api, struct plugin_instance, api)->script;
	return 0;
}

static void script_close(void *self)
{
	(void)self; /* plugin_script_free follows */
}

static const struct wgm_discovery_ops discovery_ops = {
	.size = sizeof(discovery_ops),
	.refresh = script_refresh,
};

static void on_described(void *arg, const struct proc_result *result)
{
	struct plugin_script *script = arg;
	struct plugin_instance *instance = script->instance;
	const char *bad;

	script->proc = NULL;
	log_errors(script, result);
	if (result->error || result->exit_code) {
		wrong(script, "describe: %s %d", result->error ? strerror(-result->error) : "exit code",
		      result->exit_code);
	} else if (!each_line(script, result->output, NULL, read_description)) {
		;
	} else if (!script->described || !script->kind) {
		wrong(script, "describe: the lines \"abi 1\" and \"kind %s\" are missing",
		      plugin_kind_name(instance->kind));
	} else if ((bad = plugin_table_wrong(script->table))) {
		wrong(script, "describe: %s", bad);
	} else {
		instance->plugin = (struct wgm_plugin){
			.size = sizeof(struct wgm_plugin),
			.major = WGM_ABI_MAJOR,
			.kind = instance->kind,
			.name = instance->name,
			.version = script->version ? script->version : "1",
			.summary = script->summary ? script->summary : "",
			.options = script->option_count ? script->table : NULL,
			.open = script_open,
			.close = script_close,
			.ops = &discovery_ops,
		};
		plugin_instance_described(instance);
		return;
	}
	plugin_instance_failed(instance, PLUGIN_FAILED);
}

void plugin_script_start(struct plugin_instance *instance)
{
	struct plugin_script *script = xcalloc(1, sizeof(*script));

	script->instance = instance;
	timer_init(&script->timer, instance->host->services.loop, on_timer, script);
	instance->script = script;
	if (instance->kind != WGM_DISCOVERY)
		wrong(script, "plugins of this kind cannot be scripts yet: build it as an object");
	else if (run(script, "describe", on_described) == 0)
		return;
	plugin_instance_failed(instance, PLUGIN_FAILED);
}
