/*
 * main.c - wg-mesh-coordinator: `serve`, and the administrator's commands (cli.c).
 */
#include "coordinator/admin/admin.h"
#include "coordinator/cli/cli.h"
#include "coordinator/cli/cli_complete.h"
#include "coordinator/cli/cli_help.h"
#include "embedded.h"
#include "coordinator/sync/events.h"
#include "reload.h"
#include "coordinator/api/server.h"
#include "start.h"
#include "coordinator/sync/sync.h"
#include "lib/daemon.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/tls.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYE_MS 300 /* for the last frames to leave */

static const struct arg common_args[] = {
	{"config", "config", ARG_VALUE, "FILE", "default " WG_MESH_SYSCONFDIR "/coordinator.yaml"},
	{"run-dir", "run_dir", ARG_VALUE, "DIR", "of the control socket; default " WG_MESH_RUNDIR},
	{"json", "json", ARG_FLAG, NULL, "results as JSON"},
	{"verbose", "verbose", ARG_FLAG, NULL, "log more"},
	{"help", "help", ARG_FLAG, NULL, "this text"},
	{"version", "version", ARG_FLAG, NULL, "print the version"},
	{"check", "check", ARG_FLAG, NULL, "read the configuration, report, exit"},
	{"state", "state", ARG_VALUE, "DIR", "database, keys; default " WG_MESH_STATEDIR "/coordinator"},
	{0},
};
static const struct arg serve_args[] = {
	{"listen", "listen", ARG_VALUE, "ADDR:PORT", "default [::]:8443"},
	{"public-url", "public_url", ARG_LIST, "URL", "https://HOST:PORT as agents reach it; may repeat"},
	{"db", "db", ARG_VALUE, "URL", "sqlite:PATH or postgres://USER@HOST/DATABASE; default sqlite:STATE/coordinator.db"},
	{"policy", "policy", ARG_VALUE, "FILE", "who may talk to whom; default policy.yaml beside the configuration"},
	{0},
};

struct serving {
	struct coordinator co;
	struct loop_signal term, interrupt, hup;
	struct loop_timer end;
	bool ending;
};

static int usage(const char *sentence)
{
	fprintf(stderr, "wg-mesh-coordinator: %s\n", sentence);
	return 2;
}

/* ---- serve -------------------------------------------------------------------------------- */

static void end(void *arg)
{
	struct serving *serving = arg;

	if (serving->ending) {
		loop_stop(serving->co.loop);
		return;
	}
	serving->ending = true; /* once more round, in which aborted connections end */
	server_abort(serving->co.server);
	timer_start(&serving->end, 1);
}

static void on_term(void *arg, int signo)
{
	struct serving *serving = arg;
	struct coordinator *co = &serving->co;

	log_info("stopping", "signal=%d", signo);
	daemon_notify("STOPPING=1");
	embedded_end(co->embedded);
	embedded_free(co->embedded);
	co->embedded = NULL;
	server_stop(co->server);
	admin_stop(co->admin);
	sync_bye(co->sync);
	events_bye(co->events);
	timer_start(&serving->end, BYE_MS);
}

static void on_hup(void *arg, int signo)
{
	struct serving *serving = arg;

	(void)signo;
	coordinator_reload(&serving->co);
}

static void say_serving(const struct coordinator *co)
{
	char listen[ENDPOINT_TEXT], db[300];

	endpoint_format(listen, &co->listening);
	store_url_shown(db, sizeof(db), co->config.db);
	log_info("serving", "listen=%s url=%s db=%s policy=%s", listen, co->config.urls[0], db,
		 access(co->config.policy, F_OK) ? "-" : co->config.policy);
}

static void run(struct serving *serving)
{
	struct coordinator *co = &serving->co;

	say_serving(co);
	timer_init(&serving->end, co->loop, end, serving);
	signal_start(&serving->term, co->loop, SIGTERM, on_term, serving);
	signal_start(&serving->interrupt, co->loop, SIGINT, on_term, serving);
	signal_start(&serving->hup, co->loop, SIGHUP, on_hup, serving);
	daemon_notify("READY=1");
	loop_run(co->loop);
	timer_stop(&serving->end);
	signal_stop(&serving->term);
	signal_stop(&serving->interrupt);
	signal_stop(&serving->hup);
}

static int serve(const json_t *options)
{
	struct serving serving = {0};
	struct coordinator *co = &serving.co;
	char error[CONFIG_ERROR] = "";
	int code = config_load(&co->config, options, true, error);

	co->options = options;
	if (!code && json_is_true(json_object_get(options, "check"))) {
		code = coordinator_check(&co->config, error, sizeof(error));
		if (!code)
			printf("the configuration is fine%s%s\n", co->config.file ? ": " : "",
			       co->config.file ? co->config.file : "");
	} else if (!code) {
		umask(0077);
		/* Buffers of bursts go back to the system; left alone, glibc keeps ever larger ones. */
		mallopt(M_MMAP_THRESHOLD, 64 * 1024);
		mallopt(M_TRIM_THRESHOLD, 256 * 1024);
		secret_init();
		co->loop = loop_new();
		code = coordinator_start(co, error, sizeof(error));
		if (!code)
			run(&serving);
		coordinator_stop(co);
		loop_free(co->loop);
	}
	if (code)
		fprintf(stderr, "wg-mesh-coordinator: %s\n", error);
	config_free(&co->config);
	return code;
}

/* ---- commands ------------------------------------------------------------------------------- */

static int administer(const struct command *command, json_t *options, const char *const *words,
		      size_t count)
{
	char error[CONFIG_ERROR];
	struct config config;
	static const char *const keys[] = {"config", "run_dir", "state", "db"};
	json_t *where = json_object(), *sent = json_copy(options);
	int code;

	/* Only where it is: other options of the same name are the command's. */
	for (size_t i = 0; i < ARRAY_SIZE(keys) && (i < 2 || command->local); i++)
		if (json_object_get(options, keys[i]))
			json_object_set(where, keys[i], json_object_get(options, keys[i]));
	code = config_load(&config, where, true, error);
	if (!code && command->local)
		code = cli_run_local(command, &config, sent, words, count);
	else if (code)
		fprintf(stderr, "wg-mesh-coordinator: %s\n", error);
	else
		code = cli_run(command, config.run_dir, sent, words, count);
	config_free(&config);
	json_decref(sent);
	json_decref(where);
	return code;
}

int main(int argc, char **argv)
{
	const struct arg *tables[2] = {common_args, serve_args};
	const char *words[CLI_MAX_WORDS], *near = NULL;
	json_t *options;
	char error[ARGS_ERROR] = "";
	size_t count = 0, used = 0;
	const struct command *command = NULL;
	int code;

	standard_open();
	options = json_object();
	log_open("wg-mesh-coordinator", NULL, LOG_INFO);
	if (argc == 2 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))) {
		cli_help(NULL, NULL, 0, common_args, serve_args);
		code = 0;
		goto out;
	}
	if (argc > 1 && !strcmp(argv[1], "complete-words")) {
		cli_complete(argv + 2, argc - 2, common_args, serve_args);
		code = 0;
		goto out;
	}
	/* The command's own options are known once its words are. */
	count = args_words(tables, argc - 1, argv + 1, words, 2);
	if (count && strcmp(words[0], "serve")) {
		command = cli_find(words, count, &used, &near);
		tables[1] = command ? command->args : NULL;
	}
	if (!args_parse(options, tables, argc - 1, argv + 1, words, CLI_MAX_WORDS, &count, error)) {
		code = usage(error);
		goto out;
	}
	if (json_object_get(options, "verbose"))
		log_set_level(LOG_DEBUG);
	if (json_object_get(options, "version")) {
		puts("wg-mesh-coordinator " WG_MESH_VERSION);
		code = 0;
	} else if (json_object_get(options, "help")) {
		cli_help(command, words, count, common_args, serve_args);
		code = 0;
	} else if (count && !strcmp(words[0], "serve")) {
		code = count == 1 ? serve(options) : usage("serve takes options only; see --help");
	} else if (json_object_get(options, "check") && !count) {
		code = serve(options);
	} else if (!count) {
		code = usage("say what to do: serve, network, key, agent, route, peer, policy, user, token, relay, audit, backup, "
			     "restore or migrate; see --help");
	} else {
		command = cli_find(words, count, &used, &near);
		if (command) {
			code = administer(command, options, words + used, count - used);
		} else {
			cli_no_such(words, count, near);
			code = 2;
		}
	}
out:
	json_decref(options);
	return output_end("wg-mesh-coordinator", code);
}
