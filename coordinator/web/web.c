/*
 * web.c - the dashboard's files over HTTP. Nothing of the file system is served: what is not in the table
 * is not there.
 *
 * Browsers ask each time and hear 304 (no-cache), so a new version of the program is a new page at once.
 * The policy lets the page have our own scripts and styles and nothing else, so that what an agent calls
 * itself can never become code.
 */
#include "web.h"
#include "coordinator/api/api.h"

#include <stdio.h>
#include <string.h>

static const char headers[] =
	"Cache-Control: no-cache\r\n"
	"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
	"require-trusted-types-for 'script'; trusted-types 'none'\r\n"
	"Cross-Origin-Opener-Policy: same-origin\r\n"
	"Cross-Origin-Resource-Policy: same-origin\r\n"
	"Referrer-Policy: no-referrer\r\n"
	"X-Content-Type-Options: nosniff\r\n"
	"X-Frame-Options: DENY\r\n";

static const struct web_file *find(const char *path)
{
	for (const struct web_file *file = web_files; file->path; file++)
		if (!strcmp(file->path, path))
			return file;
	return NULL;
}

void api_web(struct request *rq)
{
	const char *known = http_header(rq->http, "If-None-Match");
	const struct web_file *file = find(rq->http->path);
	char all[sizeof(headers) + 64];

	if (!rq->co->config.dashboard) {
		reply_problem(rq, 404, "not_found", "the dashboard is off here (dashboard: false)");
		return;
	}
	if (!file) {
		reply_problem(rq, 404, "not_found", "the dashboard has no such file");
		return;
	}
	snprintf(all, sizeof(all), "ETag: %s\r\n%s", file->etag, headers);
	reply_raw(rq, known && strstr(known, file->etag) ? 304 : 200, all, file->type, file->data, file->len);
}
