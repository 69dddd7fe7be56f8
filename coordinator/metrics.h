/*
 * metrics.h - what is counted, for /metrics.
 */
#ifndef COORDINATOR_METRICS_H
#define COORDINATOR_METRICS_H

#include "histogram.h"

#define METRICS_ROUTES  128
#define METRICS_CLASSES 5 /* 1xx to 5xx */

struct endpoint_row;

struct metrics {
	struct {
		uint64_t answers[METRICS_CLASSES];
		struct histogram seconds;
	} routes[METRICS_ROUTES]; /* by place in the table of routes */
	struct histogram delta_bytes, snapshot_bytes;
};

void metrics_answer(struct metrics *metrics, const struct endpoint_row *row, int status, uint64_t us);

#endif
