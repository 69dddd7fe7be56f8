/*
 * settings.c - one table says each option's name, its key in relay.yaml, and what reads its value.
 * An option that was given in the arguments is not taken from the file any more, lists included.
 */
#include "settings.h"
#include "lib/schema.h"
#include "lib/sock.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_CONFIG WG_MESH_SYSCONFDIR "/relay.yaml"
#define DEFAULT_STUN   ":3478"

struct option_row {
	const char *name;     /* NULL: a line of help that goes on */
	const char *argument; /* NULL: takes none */
	const char *key;      /* in the file; NULL: only an argument */
	size_t at;            /* of the field, for set_text and set_flag */
	/* false: *why says what would be right. */
	bool (*set)(struct settings *settings, size_t at, const char *value, const char **why);
	const char *help;
};

/* ---- readers -------------------------------------------------------------------- */

static bool set_text(struct settings *settings, size_t at, const char *value, const char **why)
{
	char **field = (char **)(void *)((char *)settings + at);

	(void)why;
	free(*field);
	*field = xstrdup(value);
	return true;
}

static bool set_flag(struct settings *settings, size_t at, const char *value, const char **why)
{
	(void)value;
	(void)why;
	*(bool *)((char *)settings + at) = true;
	return true;
}

static bool set_listener(struct settings *settings, size_t at, const char *value, const char **why)
{
	struct endpoint endpoint;

	*why = "must be ADDR:PORT, [ADDR]:PORT or :PORT";
	return listen_parse(&endpoint, value) && set_text(settings, at, value, why);
}

static bool set_stun(struct settings *settings, size_t at, const char *value, const char **why)
{
	struct stunserver_options *stun = &settings->stun;

	(void)at;
	*why = "must be ADDR:PORT, [ADDR]:PORT or :PORT, at most 8 of them";
	if (stun->listen_count == STUN_MAX_LISTEN ||
	    !listen_parse(&stun->listen[stun->listen_count], value))
		return false;
	stun->listen_count++;
	return true;
}

static bool set_alternate(struct settings *settings, size_t at, const char *value, const char **why)
{
	struct stunserver_options *stun = &settings->stun;
	struct addr *addr = &stun->alternate[stun->alternate_count];

	(void)at;
	*why = "must be an address of this host, one of each family";
	if (stun->alternate_count == STUN_MAX_LISTEN || !addr_parse(addr, value) ||
	    addr_is_unspecified(addr) || addr_is_multicast(addr))
		return false;
	stun->alternate_count++;
	return true;
}

static const struct option_row options[] = {
	{"stun", "ADDR:PORT", "stun", 0, set_stun,
	 "STUN server's address, may repeat (" DEFAULT_STUN ": all addresses)"},
	{"stun-alternate", "ADDR", "stun_alternate", 0, set_alternate,
	 "second address for RFC 5780 (found by itself if public)"},
	{"listen", "ADDR:PORT", "listen", offsetof(struct settings, listen), set_listener,
	 "taken but not used yet: this version has no relay"},
	{"coordinator", "URL", "coordinator", offsetof(struct settings, coordinator), set_text,
	 "taken but not used yet: who may use the relay"},
	{"region", "NAME", "region", offsetof(struct settings, region), set_text,
	 "taken but not used yet: the relay's region"},
	{"metrics", "ADDR:PORT", "metrics", offsetof(struct settings, metrics), set_listener,
	 "taken but not used yet: OpenMetrics"},
	{"state", "DIR", NULL, offsetof(struct settings, state), set_text,
	 "the relay's state (" WG_MESH_STATEDIR "/relay), not used yet"},
	{"run-dir", "DIR", NULL, offsetof(struct settings, run_dir), set_text,
	 "holds relay.lock and relay.json while it runs"},
	{"config", "FILE", NULL, offsetof(struct settings, config), set_text,
	 "configuration (" DEFAULT_CONFIG ", if it is there)"},
	{"check", NULL, NULL, offsetof(struct settings, check), set_flag,
	 "read the configuration, report, exit"},
	{"verbose", NULL, NULL, offsetof(struct settings, verbose), set_flag, "log for developers"},
	{"help", NULL, NULL, 0, NULL, "this text"},
	{"version", NULL, NULL, 0, NULL, "version"},
};

static void print_help(void)
{
	char name[40];

	puts("Usage: wg-mesh-relay [OPTION]...\n"
	     "\n"
	     "STUN server for wg-mesh: tells agents the address they are seen from and, with two public\n"
	     "addresses, how their NAT behaves (RFC 5780). The relay itself comes with a later version:\n"
	     "no port is opened for it.\n");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		snprintf(name, sizeof(name), "--%s %s", options[i].name,
			 options[i].argument ? options[i].argument : "");
		printf("  %-24s %s\n", name, options[i].help);
	}
	puts("\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration.");
}

/* ---- arguments ------------------------------------------------------------------ */

/* Marks in `given` which rows were there. 0, or as settings_load. */
static int read_arguments(struct settings *settings, int argc, char **argv, bool *given, int *status)
{
	struct option longs[ARRAY_SIZE(options) + 1] = {{0}};
	const char *why = "";
	int row;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		longs[i] = (struct option){options[i].name,
					   options[i].argument ? required_argument : no_argument, NULL,
					   (int)i + 256};
	*status = 2;
	while ((row = getopt_long(argc, argv, "", longs, NULL)) >= 256) {
		row -= 256;
		if (!options[row].set) {
			if (!strcmp(options[row].name, "help"))
				print_help();
			else
				puts("wg-mesh-relay " WG_MESH_VERSION);
			*status = 0;
			return 1;
		}
		if (!options[row].set(settings, options[row].at, optarg, &why)) {
			fprintf(stderr, "wg-mesh-relay: --%s %s: %s\n", options[row].name, optarg, why);
			return 1;
		}
		given[row] = true;
	}
	if (row == -1 && optind == argc)
		return 0;
	if (row == -1)
		fprintf(stderr, "wg-mesh-relay: \"%s\" is not an option\n", argv[optind]);
	fputs("wg-mesh-relay: see --help for what there is\n", stderr);
	return 1;
}

/* ---- file ----------------------------------------------------------------------- */

static bool take_value(struct settings *settings, const struct option_row *row, const struct yaml *yaml,
		       const json_t *value, char error[static YAML_ERROR])
{
	const char *why = "";

	if (row->set(settings, row->at, json_string_value(value), &why))
		return true;
	return schema_fail(yaml, value, error, "%s: %s", row->key, why);
}

static bool take_file(struct settings *settings, const struct yaml *yaml, const bool *given,
		      char error[static YAML_ERROR])
{
	static const struct schema_field fields[] = {
		{.name = "stun", .type = SCHEMA_STRING, .flags = SCHEMA_LIST},
		{.name = "stun_alternate", .type = SCHEMA_STRING, .flags = SCHEMA_LIST},
		{.name = "listen", .type = SCHEMA_STRING},
		{.name = "coordinator", .type = SCHEMA_STRING},
		{.name = "region", .type = SCHEMA_STRING},
		{.name = "metrics", .type = SCHEMA_STRING},
		{.name = NULL},
	};

	if (!schema_check(yaml, fields, error))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option_row *row = &options[i];
		json_t *value = row->key && !given[i] ? json_object_get(yaml_root(yaml), row->key) : NULL;

		for (size_t j = 0; j < json_array_size(value); j++)
			if (!take_value(settings, row, yaml, json_array_get(value, j), error))
				return false;
		if (json_is_string(value) && !take_value(settings, row, yaml, value, error))
			return false;
	}
	return true;
}

static bool read_file(struct settings *settings, const bool *given)
{
	char error[YAML_ERROR] = "";
	struct yaml *yaml;
	bool ok;

	if (!settings->config && access(DEFAULT_CONFIG, F_OK))
		return true;
	if (!settings->config)
		settings->config = xstrdup(DEFAULT_CONFIG);
	yaml = yaml_load_file(settings->config, true, error);
	ok = yaml && take_file(settings, yaml, given, error);
	yaml_free(yaml);
	if (!ok)
		fprintf(stderr, "wg-mesh-relay: %s\n", error);
	return ok;
}

int settings_load(struct settings *settings, int argc, char **argv, int *status)
{
	bool given[ARRAY_SIZE(options)] = {false};
	const char *why;

	*settings = (struct settings){0};
	if (read_arguments(settings, argc, argv, given, status))
		return 1;
	*status = 2;
	if (!read_file(settings, given))
		return 1;
	if (!settings->stun.listen_count)
		set_stun(settings, 0, DEFAULT_STUN, &why);
	if (!settings->check)
		return 0;
	printf("%s: good\n", settings->config ? settings->config : "arguments");
	*status = 0;
	return 1;
}

void settings_free(struct settings *settings)
{
	char *const texts[] = {settings->config, settings->listen,  settings->coordinator, settings->region,
			       settings->metrics, settings->state, settings->run_dir};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	*settings = (struct settings){0};
}
