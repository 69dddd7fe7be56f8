/*
 * http_target.h - the target of a request, for http.c alone.
 */
#ifndef CORE_LIB_HTTP_TARGET_H
#define CORE_LIB_HTTP_TARGET_H

#include "http.h"

/* Sets path and query by m->target; both are in `copy`, a copy of it in memory of its own, and so is the
 * host of an absolute one, in *host (else left as it is). NULL, or a sentence: what is wrong with it. */
const char *http_target_parse(struct http_message *m, char *copy, char **host);
int http_hex_value(char c); /* -1: no hexadecimal digit */

#endif
