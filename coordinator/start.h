/*
 * start.h - `serve` from configuration to a running coordinator, and back.
 */
#ifndef COORDINATOR_START_H
#define COORDINATOR_START_H

#include "coordinator.h"

/* Opens and makes everything. 0; else the exit code, and a sentence in error. */
int coordinator_start(struct coordinator *co, char *error, size_t size);
void coordinator_stop(struct coordinator *co); /* also what start has left half done */
int coordinator_check(const struct config *config, char *error, size_t size); /* --check */

#endif
