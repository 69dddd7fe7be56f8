/*
 * histogram.h - how often a number fell between which bounds, as OpenMetrics has it.
 */
#ifndef COORDINATOR_HISTOGRAM_H
#define COORDINATOR_HISTOGRAM_H

#include "lib/buf.h"

#define HISTOGRAM_BOUNDS 13

enum histogram_kind { HISTOGRAM_SECONDS, HISTOGRAM_BYTES };

struct histogram { /* all-zero: nothing yet */
	uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* the last: above all bounds */
	double sum;
};

uint64_t histogram_now_us(void); /* monotonic */
void histogram_add(struct histogram *histogram, enum histogram_kind kind, double value);
uint64_t histogram_count(const struct histogram *histogram);
/* Lines NAME_bucket, _count, _sum; labels is "a=\"b\"" or "". */
void histogram_write(struct buf *out, const struct histogram *histogram, enum histogram_kind kind,
		     const char *name, const char *labels);

#endif
