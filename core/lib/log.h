/*
 * log.h - one line an event on stderr: "PROGRAM[IFACE]: LEVEL EVENT key=value ...". Under the
 * journal (JOURNAL_STREAM) each line carries its priority as <N>. Control characters in values are
 * replaced, quotes and backslashes escaped by a backslash, and a value with a blank gets quotes, so
 * that whatever a peer, a hook or a plugin says can forge neither a line nor a field. Never pass a
 * secret.
 *
 * error: an operator must act. warn: something is degraded. info: a change of state.
 * debug: for developers (--verbose).
 *
 * `event` is a word like "peer-up"; the rest is printf with the conversions s .*s d u lu llu zu and no
 * others. Put a sentence into reason="...".
 */
#ifndef CORE_LIB_LOG_H
#define CORE_LIB_LOG_H

#include "util.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_open(const char *program, const char *interface, enum log_level level); /* borrows */
/* stderr is the file `path`, opened for appending, perhaps shared with processes that were forked: what
 * is above LOG_FILE_MAX goes to `old` (in place of what was there), and the file begins anew. */
#define LOG_FILE_MAX (1024 * 1024)
void log_keep_short(const char *path, const char *old); /* borrows */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_error(event, ...) log_line(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...)  log_line(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...)  log_line(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...)                                                                      \
	do {                                                                                       \
		if (log_enabled(LOG_DEBUG))                                                        \
			log_line(LOG_DEBUG, event, __VA_ARGS__);                                   \
	} while (0)

#endif
