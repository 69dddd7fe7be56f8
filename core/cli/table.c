/*
 * table.c - text for people. The words_ functions share a ring of results, so that a line can
 * be printed from several without anybody freeing anything.
 */
#include "table.h"

#include <math.h>
#include <stdarg.h>

#define RING      16
#define RING_TEXT 512

static char *ring_next(void)
{
	static char ring[RING][RING_TEXT];
	static unsigned at;

	at = (at + 1) % RING;
	ring[at][0] = '\0';
	return ring[at];
}

void table_init(struct table *table, size_t columns)
{
	*table = (struct table){.columns = columns};
}

void table_fini(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (struct table){0};
}

static void append(struct table *table, char *cell)
{
	table->cells = xrealloc(table->cells, (table->count + 1) * sizeof(*table->cells));
	table->cells[table->count++] = cell;
}

void table_add(struct table *table, const char *cell)
{
	append(table, xstrdup(cell && *cell ? cell : "-"));
}

void table_addf(struct table *table, const char *format, ...)
{
	char text[RING_TEXT];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	table_add(table, text);
}

/* Characters, not bytes: what follows the first byte of one in UTF-8 takes no room. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

void table_print(const struct table *table, struct buf *out)
{
	size_t widths[TABLE_COLUMNS] = {0};

	for (size_t i = 0; i < table->count; i++)
		widths[i % table->columns] =
			MAX(widths[i % table->columns], width_of(table->cells[i]));
	for (size_t i = 0; i < table->count; i++) {
		size_t column = i % table->columns,
		       pad = widths[column] - width_of(table->cells[i]);

		buf_puts(out, table->cells[i]);
		if (column + 1 == table->columns)
			buf_puts(out, "\n");
		else
			buf_addf(out, "%*s", (int)pad + 2, "");
	}
}

uint64_t time_parse(const char *rfc3339)
{
	struct tm tm = {0};
	const char *rest = rfc3339 ? strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	time_t seconds = rest ? timegm(&tm) : 0;

	return seconds > 0 ? (uint64_t)seconds * 1000 : 0;
}

const char *words_age(const char *rfc3339, uint64_t wall_ms)
{
	static const struct {
		uint64_t seconds;
		const char *unit;
	} units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
	uint64_t then = time_parse(rfc3339), age;
	char *out = ring_next();

	if (!then)
		return "never";
	age = wall_ms > then ? (wall_ms - then) / 1000 : 0;
	if (age == 0)
		return "now";
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (age < units[i].seconds)
			continue;
		snprintf(out, RING_TEXT, "%llu %s ago",
			 (unsigned long long)(age / units[i].seconds), units[i].unit);
		break;
	}
	return out;
}

const char *words_bytes(double bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	char *out = ring_next();
	size_t unit = 0;

	for (; bytes >= 1024 && unit + 1 < ARRAY_SIZE(units); unit++)
		bytes /= 1024;
	snprintf(out, RING_TEXT, unit && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
	return out;
}

const char *words_ms(const json_t *ms)
{
	double value = json_number_value(ms);
	char *out = ring_next();

	if (json_is_number(ms))
		snprintf(out, RING_TEXT, value < 100 ? "%.1f ms" : "%.0f ms", value);
	return out;
}

static void copy_harmless(char *out, size_t size, const char *text)
{
	size_t i = 0;

	for (; text[i] && i + 1 < size; i++)
		out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
	out[i] = '\0';
}

const char *words_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	char *out = ring_next();

	if (text)
		copy_harmless(out, RING_TEXT, text);
	return out;
}

const char *words_list(const json_t *object, const char *key)
{
	char *out = ring_next();
	size_t len = 0, i;
	json_t *item;

	json_array_foreach(json_object_get(object, key), i, item)
	{
		const char *text = json_string_value(item);

		if (!text || len + strlen(text) + 3 > RING_TEXT)
			continue;
		if (len)
			memcpy(out + len, ", ", 3);
		len += len ? 2 : 0;
		copy_harmless(out + len, RING_TEXT - len, text);
		len += strlen(out + len);
	}
	return out;
}
