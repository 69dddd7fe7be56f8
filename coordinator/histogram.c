/*
 * histogram.c - fixed bounds: times from a millisecond to ten seconds, sizes from 64 bytes to a GiB.
 */
#include "histogram.h"

#include <time.h>

static const double bounds[][HISTOGRAM_BOUNDS] = {
	[HISTOGRAM_SECONDS] = {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	[HISTOGRAM_BYTES] = {64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
			     268435456, 1073741824},
};

uint64_t histogram_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void histogram_add(struct histogram *histogram, enum histogram_kind kind, double value)
{
	size_t i = 0;

	while (i < HISTOGRAM_BOUNDS && value > bounds[kind][i])
		i++;
	histogram->buckets[i]++;
	histogram->sum += value;
}

uint64_t histogram_count(const struct histogram *histogram)
{
	uint64_t count = 0;

	for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++)
		count += histogram->buckets[i];
	return count;
}

void histogram_write(struct buf *out, const struct histogram *histogram, enum histogram_kind kind,
		     const char *name, const char *labels)
{
	const char *comma = *labels ? "," : "";
	uint64_t count = 0;

	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
		count += histogram->buckets[i];
		buf_addf(out, "%s_bucket{%s%sle=\"%.10g\"} %llu\n", name, labels, comma, bounds[kind][i],
			 (unsigned long long)count);
	}
	count += histogram->buckets[HISTOGRAM_BOUNDS];
	buf_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma, (unsigned long long)count);
	buf_addf(out, "%s_count%s%s%s %llu\n%s_sum%s%s%s %.9g\n", name, *labels ? "{" : "", labels,
		 *labels ? "}" : "", (unsigned long long)count, name, *labels ? "{" : "", labels,
		 *labels ? "}" : "", histogram->sum);
}
