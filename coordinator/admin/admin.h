/*
 * admin.h - administration over RUN/coordinator.sock (0600; root and our own user): one line of JSON
 * asks, {"command":"key create","arguments":{...}}, one answers, {"ok":true,"result":{...}} or
 * {"ok":false,"code":"..","detail":"..","exit":1}. `audit` with "follow" goes on answering.
 */
#ifndef COORDINATOR_ADMIN_H
#define COORDINATOR_ADMIN_H

#include "lib/util.h"

#include <jansson.h>

struct admin;
struct coordinator;

/* NULL and a sentence in error: another coordinator answers there, or the path cannot be made. */
struct admin *admin_new(struct coordinator *co, char *error, size_t size);
void admin_stop(struct admin *admin); /* its clients end in the loop's next turn */
void admin_free(struct admin *admin);

#endif
