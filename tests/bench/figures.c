/*
 * figures.c - samples and the one table that is printed, for people or as JSON.
 */
#include "bench.h"
#include "lib/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_FIGURES 64

static struct {
	char name[48];
	char text[MAX_RUNS][24];
} figures[MAX_FIGURES];
static size_t figure_count;
static unsigned fault_count;

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void samples_add(struct samples *samples, uint64_t ns)
{
	if (samples->count == samples->cap) {
		samples->cap = samples->cap ? 2 * samples->cap : 4096;
		samples->all = xrealloc(samples->all, samples->cap * sizeof(*samples->all));
	}
	samples->all[samples->count++] = ns;
}

void samples_free(struct samples *samples)
{
	free(samples->all);
	*samples = (struct samples){0};
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

double samples_ms(struct samples *samples, double quantile)
{
	if (!samples->count)
		return 0;
	qsort(samples->all, samples->count, sizeof(*samples->all), by_size);
	return (double)samples->all[(size_t)(quantile * (double)(samples->count - 1))] / 1e6;
}

static void PRINTF_LIKE(3, 0) put(unsigned run, const char *name, const char *format, va_list args)
{
	size_t i = 0;

	while (i < figure_count && strcmp(figures[i].name, name))
		i++;
	if (i == MAX_FIGURES || run >= MAX_RUNS)
		return;
	if (i == figure_count)
		snprintf(figures[figure_count++].name, sizeof(figures[i].name), "%s", name);
	vsnprintf(figures[i].text[run], sizeof(figures[i].text[run]), format, args);
	fprintf(stderr, "  %-38s %s\n", name, figures[i].text[run]);
}

void figure(unsigned run, const char *name, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put(run, name, format, args);
	va_end(args);
}

void fault(unsigned run, const char *name, const char *format, ...)
{
	va_list args;

	fault_count++;
	va_start(args, format);
	put(run, name, format, args);
	va_end(args);
}

bool faults(void)
{
	return fault_count;
}

void figures_print(unsigned runs)
{
	for (size_t i = 0; i < figure_count; i++) {
		printf("%-38s", figures[i].name);
		for (unsigned run = 0; run < runs; run++)
			printf(" %14s", *figures[i].text[run] ? figures[i].text[run] : "-");
		putchar('\n');
	}
}

/* "12.5" is a number, "100, 1.0" a list of them. */
static json_t *value_of(const char *text)
{
	json_t *list = json_array();
	char *end;

	do {
		json_array_append_new(list, json_real(strtod(text, &end)));
		text = end + strspn(end, ", ");
	} while (*end == ',');
	if (json_array_size(list) == 1) {
		json_t *only = json_incref(json_array_get(list, 0));

		json_decref(list);
		return only;
	}
	return list;
}

void figures_print_json(unsigned runs)
{
	json_t *columns = json_array(), *json = json_pack("{siso}", "schema", 1, "columns", columns);

	for (unsigned run = 0; run < runs; run++) {
		json_t *column = json_object();

		for (size_t i = 0; i < figure_count; i++)
			if (*figures[i].text[run])
				json_object_set_new(column, figures[i].name + strspn(figures[i].name, " "),
						    value_of(figures[i].text[run]));
		json_array_append_new(columns, column);
	}
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(json);
}
