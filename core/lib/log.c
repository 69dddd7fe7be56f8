/*
 * One line an event, one write() a line, so that lines of several processes on one stderr do not
 * mix. The line is built on the stack: logging works when memory is short, and from any thread.
 */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_LEN 2048

static const struct {
	const char *word;
	int priority; /* syslog(3)'s number */
} levels[] = {
	[LOG_ERROR] = {"error", 3},
	[LOG_WARN] = {"warn", 4},
	[LOG_INFO] = {"info", 6},
	[LOG_DEBUG] = {"debug", 7},
};

static struct {
	const char *program, *interface;
	enum log_level level;
	bool journal;
} logger = {.program = "wg-mesh", .level = LOG_INFO};

/* Children whose stderr is something else inherit JOURNAL_STREAM: compare, systemd.exec(5). */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_open(const char *program, const char *interface, enum log_level level)
{
	logger.program = program;
	logger.interface = interface;
	logger.level = level;
	logger.journal = stderr_is_journal();
}

void log_set_level(enum log_level level)
{
	logger.level = level;
}

bool log_enabled(enum log_level level)
{
	return level <= logger.level;
}

static size_t line_head(char *line, size_t size, enum log_level level, const char *event)
{
	const char *interface = logger.interface ? logger.interface : "";
	char priority[8] = "";
	int len;

	if (logger.journal)
		snprintf(priority, sizeof(priority), "<%d>", levels[level].priority);
	len = snprintf(line, size, "%s%s%s%s%s: %s %s", priority, logger.program,
		       *interface ? "[" : "", interface, *interface ? "]" : "", levels[level].word,
		       event);
	return MIN((size_t)MAX(len, 0), size - 1);
}

/* ASCII controls, and C1 controls as UTF-8 writes them (C2 80 to C2 9F). */
static void replace_controls(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		else if (*c == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f)
			c[0] = c[1] = '?';
	}
}

void log_line(enum log_level level, const char *event, const char *format, ...)
{
	char line[LINE_MAX_LEN];
	size_t len;
	va_list args;

	if (!log_enabled(level))
		return;
	len = line_head(line, sizeof(line) - 2, level, event);
	if (*format) {
		line[len++] = ' ';
		line[len] = 0;
	}
	va_start(args, format);
	if (vsnprintf(line + len, sizeof(line) - 1 - len, format, args) < 0)
		line[len] = 0;
	va_end(args);
	replace_controls(line);
	len = strlen(line);
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
}
