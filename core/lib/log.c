/*
 * One line an event, one write() a line, so that lines of several processes on one stderr do not
 * mix. The line is built on the stack: logging works when memory is short, and from any thread.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
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
	const char *program, *interface, *path, *old;
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

void log_keep_short(const char *path, const char *old)
{
	logger.path = path;
	logger.old = old;
}

static bool too_long(int fd, struct stat *st)
{
	return fstat(fd, st) == 0 && st->st_size > LOG_FILE_MAX;
}

static void copy_to_old(int from, off_t end)
{
	int to = open(logger.old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	off_t at = 0;

	while (to >= 0 && at < end && sendfile(to, from, &at, (size_t)(end - at)) > 0)
		;
	if (to >= 0)
		close(to);
}

/* By copying and truncating, for others who have the file open for appending go on with it; what one of
 * them writes in between is lost. The lock keeps two of them from doing it at once. */
static void cut_file(void)
{
	struct stat ours, named;
	int saved = errno, from;

	if (!logger.path || !too_long(STDERR_FILENO, &ours))
		return;
	from = open(logger.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (from >= 0 && flock(from, LOCK_EX | LOCK_NB) == 0 && too_long(from, &named) &&
	    named.st_ino == ours.st_ino && named.st_dev == ours.st_dev) {
		copy_to_old(from, named.st_size);
		while (ftruncate(STDERR_FILENO, 0) < 0 && errno == EINTR)
			;
	}
	if (from >= 0)
		close(from);
	errno = saved;
}

struct line {
	char text[LINE_MAX_LEN];
	size_t len;
	bool quoted; /* between quotes of the format's own */
};

static void add_byte(struct line *line, char c)
{
	if (line->len < sizeof(line->text) - 1)
		line->text[line->len++] = c;
}

/* Quotes and backslashes cannot end the value early. Whole or not at all, so that a line that is cut
 * does not end in half of one. */
static void add_escaped(struct line *line, const char *text, size_t len)
{
	for (size_t i = 0; i < len && text[i]; i++) {
		bool special = text[i] == '"' || text[i] == '\\';

		if (special && line->len + 2 > sizeof(line->text) - 1)
			return;
		if (special)
			add_byte(line, '\\');
		add_byte(line, text[i]);
	}
}

/* A value without quotes of the format's own gets some where it would not stay one word. */
static void add_text(struct line *line, const char *text, size_t len)
{
	bool quotes = false;

	for (size_t i = 0; i < len && text[i] && !line->quoted; i++)
		quotes |= text[i] == ' ' || text[i] == '"' || text[i] == '\\';
	if (quotes)
		add_byte(line, '"');
	add_escaped(line, text, len);
	if (quotes)
		add_byte(line, '"');
}

/* The conversions that log.h names; NULL at any other, for its argument is not known. */
static const char *add_value(struct line *line, const char *at, va_list *args)
{
	char number[32] = "";
	size_t limit = SIZE_MAX;
	unsigned longs = 0;
	const char *text;

	if (at[0] == '.' && at[1] == '*') {
		limit = (size_t)va_arg(*args, int); /* negative: no limit, as in printf */
		at += 2;
	}
	for (; *at == 'l' || *at == 'z'; at++)
		longs += *at == 'z' ? 3 : 1;
	switch (*at) {
	case 's':
		text = va_arg(*args, const char *);
		add_text(line, text ? text : "-", limit);
		break;
	case 'd':
		snprintf(number, sizeof(number), "%d", va_arg(*args, int));
		break;
	case 'u':
		if (longs == 0)
			snprintf(number, sizeof(number), "%u", va_arg(*args, unsigned));
		else if (longs == 1)
			snprintf(number, sizeof(number), "%lu", va_arg(*args, unsigned long));
		else if (longs == 2)
			snprintf(number, sizeof(number), "%llu", va_arg(*args, unsigned long long));
		else
			snprintf(number, sizeof(number), "%zu", va_arg(*args, size_t));
		break;
	default:
		return NULL;
	}
	add_escaped(line, number, sizeof(number));
	return at + 1;
}

static void add_fields(struct line *line, const char *format, va_list *args)
{
	while (format && *format) {
		if (*format == '%') {
			format = add_value(line, format + 1, args);
			continue;
		}
		line->quoted ^= *format == '"';
		add_byte(line, *format++);
	}
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
	struct line line;
	va_list args;

	if (!log_enabled(level))
		return;
	line.quoted = false;
	line.len = line_head(line.text, sizeof(line.text) - 2, level, event);
	if (*format)
		add_byte(&line, ' ');
	va_start(args, format);
	add_fields(&line, format, &args);
	va_end(args);
	line.text[line.len] = '\0';
	replace_controls(line.text);
	line.text[line.len++] = '\n';
	while (write(STDERR_FILENO, line.text, line.len) < 0 && errno == EINTR)
		;
	cut_file();
}
