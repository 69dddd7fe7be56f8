/*
 * web.h - the dashboard's files, which are in the program itself (web/README.md).
 */
#ifndef COORDINATOR_WEB_H
#define COORDINATOR_WEB_H

#include <stddef.h>

struct request;

struct web_file {
	const char *path, *type, *etag; /* "/web/NAME"; Content-Type; in quotes */
	const unsigned char *data;
	size_t len;
};
extern const struct web_file web_files[]; /* made by web/embed.sh; ends with path NULL */

void api_web(struct request *rq);

#endif
