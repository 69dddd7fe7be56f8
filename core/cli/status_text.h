/*
 * status_text.h - the document of `status --json` as people read it, and whether it is healthy.
 */
#ifndef CORE_CLI_STATUS_TEXT_H
#define CORE_CLI_STATUS_TEXT_H

#include "lib/buf.h"
#include <jansson.h>

void status_text(struct buf *out, const json_t *status, uint64_t wall_ms);

/* Connected, and every online peer of the mesh has a path; else what is missing, in a sentence. */
#define STATUS_WHY 300
bool status_healthy(const json_t *status, char why[static STATUS_WHY]);

/* Let in by the coordinator and approved; else "sentence: remedy", which is an administrator's. */
bool status_admitted(const json_t *status, char why[static STATUS_WHY]);
/* The same for one network of that document, or of a registration's answer; name: this host's. */
bool network_admitted(const json_t *network, const char *name, char why[static STATUS_WHY]);

#endif
