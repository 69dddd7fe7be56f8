/*
 * figures.c - samples and the one table that is printed.
 */
#include "bench.h"

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

void figure(unsigned run, const char *name, const char *format, ...)
{
	va_list args;
	size_t i = 0;

	while (i < figure_count && strcmp(figures[i].name, name))
		i++;
	if (i == MAX_FIGURES || run >= MAX_RUNS)
		return;
	if (i == figure_count)
		snprintf(figures[figure_count++].name, sizeof(figures[i].name), "%s", name);
	va_start(args, format);
	vsnprintf(figures[i].text[run], sizeof(figures[i].text[run]), format, args);
	va_end(args);
	fprintf(stderr, "  %-38s %s\n", name, figures[i].text[run]);
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
