/*
 * doctor.c - runs the tables of checks and prints what they found. A check only looks: nothing on
 * this host is changed, and each wait is bounded.
 */
#include "doctor.h"
#include "agent.h"
#include "lib/file.h"
#include "table.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#define CONF_MAX  ((size_t)1024 * 1024)
#define STATUS_MS 2000

static const char *const result_words[] = {"ok", "note", "problem"};

void doctor_say(struct doctor *doctor, enum doctor_result result, const char *remedy,
		const char *format, ...)
{
	const char *interface = doctor->cli->interface,
		   *at = remedy ? strstr(remedy, "IFACE") : NULL;
	char message[PATHS_MAX + 400], named[PATHS_MAX + 100];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (at && interface) {
		snprintf(named, sizeof(named), "%.*s%s%s", (int)(at - remedy), remedy, interface,
			 at + 5);
		remedy = named;
	}
	json_array_append_new(doctor->findings,
			      json_pack("{s:s,s:s,s:o,s:o}", "check", doctor->check, "result",
					result_words[result], "message", js_from_text(message), "remedy",
					js_from_text(remedy)));
	doctor->problems += result == DOCTOR_PROBLEM;
}

bool doctor_in_path(const char *program)
{
	const char *path = getenv("PATH");
	char candidate[PATHS_MAX];

	for (size_t len; path && *path; path += len + (path[len] == ':')) {
		len = strcspn(path, ":");
		snprintf(candidate, sizeof(candidate), "%.*s/%s", (int)len, path, program);
		if (access(candidate, X_OK) == 0)
			return true;
	}
	return false;
}

static void look(struct doctor *doctor)
{
	struct cli *cli = doctor->cli;
	char why[JS_ERROR];
	struct agent agent;
	int error;

	if (state_load(&doctor->state, cli->paths.state, why) < 0)
		doctor->state = NULL;
	snprintf(doctor->conf_path, sizeof(doctor->conf_path), "/etc/wireguard/%s.conf",
		 cli->interface);
	if (doctor->state && doctor->state->config_path)
		snprintf(doctor->conf_path, sizeof(doctor->conf_path), "%s",
			 doctor->state->config_path);
	buf_init(&doctor->conf, CONF_MAX);
	error = file_read(doctor->conf_path, CONF_MAX, &doctor->conf);
	doctor->conf_there = error == 0;
	doctor->conf_hidden = error == -EACCES;
	if (agent_connect(&agent, cli->paths.socket) == 0 &&
	    agent_send(&agent, "{\"command\":\"status\"}") == 0 &&
	    agent_next(&agent, STATUS_MS, &doctor->status) == 0 &&
	    agent_send(&agent, "{\"command\":\"plugins\"}") == 0)
		agent_next(&agent, STATUS_MS, &doctor->plugins);
	agent_close(&agent);
}

static void run_checks(struct doctor *doctor, const struct doctor_check *checks)
{
	for (; checks->name; checks++) {
		doctor->check = checks->name;
		checks->fn(doctor);
	}
}

static void print_text(const struct doctor *doctor)
{
	json_t *finding;
	size_t i;

	json_array_foreach(doctor->findings, i, finding)
	{
		printf("%-8s %-12s %s\n", words_text(finding, "result"),
		       words_text(finding, "check"), words_text(finding, "message"));
		if (*words_text(finding, "remedy"))
			printf("%-8s %-12s remedy: %s\n", "", "", words_text(finding, "remedy"));
	}
	if (doctor->problems)
		printf("\n%u problem%s\n", doctor->problems, doctor->problems == 1 ? "" : "s");
	else
		puts("\nno problem found");
}

int run_doctor(struct cli *cli)
{
	struct doctor doctor = {.cli = cli, .findings = json_array()};
	json_t *document;

	run_checks(&doctor, doctor_host_checks);
	if (cli->interface) {
		look(&doctor);
		run_checks(&doctor, doctor_mesh_checks);
	}
	document = json_pack("{s:i,s:o,s:i,s:O}", "schema", 1, "interface",
			     js_from_string(cli->interface), "problems", (int)doctor.problems,
			     "checks", doctor.findings);
	if (cli->json) {
		json_dumpf(document, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_text(&doctor);
	}
	json_decref(document);
	json_decref(doctor.findings);
	json_decref(doctor.status);
	json_decref(doctor.plugins);
	state_free(doctor.state);
	buf_wipe(&doctor.conf);
	return doctor.problems ? EXIT_FAILED : EXIT_DONE;
}
