/*
 * remedy.h - what to do, in the words of who asks. A refusal says it with the command in braces, as in
 * "see {agent list}" or "waits for its approval: {agent approve nas}": on the socket, and in the log, that
 * is the command; over REST it is the request that does the same, GET /agents or POST /agents/nas/approve.
 */
#ifndef COORDINATOR_REMEDY_H
#define COORDINATOR_REMEDY_H

#include "lib/util.h"

#include <stdarg.h>

#define REMEDY_TEXT 500

/* vsnprintf() of a refusal. The braces of the format are those of remedies, and none that came with an argument:
 * they are told apart until the sentence is said. */
void remedy_format(char *out, size_t size, const char *format, va_list args) PRINTF_LIKE(3, 0);
/* The sentence of a refusal as it is to be said, in UTF-8; braces around what is no command stay. */
void remedy_command(char out[static REMEDY_TEXT], const char *sentence);
void remedy_request(char out[static REMEDY_TEXT], const char *sentence);

#endif
