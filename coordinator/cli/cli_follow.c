/*
 * cli_follow.c - as JSON each line of the audit is a document, the first ones too, so that a program reads them
 * one way.
 */
#include "cli_follow.h"
#include "cli.h"
#include "cli_print.h"
#include "lib/json.h"
#include "lib/sock.h"

#include <string.h>
#include <unistd.h>

static void print_line(const json_t *line, bool as_json)
{
	json_t *document;
	char *text;

	if (!as_json) {
		print_audit_line(line);
		return;
	}
	document = json_pack("{si}", "schema", 1);
	json_object_update(document, (json_t *)line);
	text = js_dump(document);
	puts(text);
	free(text);
	json_decref(document);
}

/* One that is there has cut us off. */
static int ended(const char *run_dir)
{
	char *path = xasprintf("%s/coordinator.sock", run_dir);
	int fd = sock_connect_unix(path);

	free(path);
	if (fd < 0) {
		fprintf(stderr, "wg-mesh-coordinator: the coordinator has ended, and so has its audit: follow again "
			"when it is back\n");
		return EXIT_NOT_RUNNING;
	}
	close(fd);
	fprintf(stderr, "wg-mesh-coordinator: the coordinator has ended this (it was started anew, its database "
		"does not keep up, or lines were not read for long): follow again\n");
	return EXIT_NOT_REACHABLE;
}

int cli_follow(const char *run_dir, const json_t *result, FILE *stream, bool as_json)
{
	char error[JS_ERROR], *text = NULL;
	size_t size = 0, i;
	const json_t *line;
	json_t *json;

	json_array_foreach(json_object_get(result, "audit"), i, line)
		print_line(line, as_json);
	fflush(stdout);
	while (getline(&text, &size, stream) > 0) {
		json = js_load(text, strlen(text), error);
		if (json)
			print_line(json, as_json);
		fflush(stdout);
		json_decref(json);
	}
	free(text);
	return ended(run_dir);
}
