/*
 * embedded.h - the relay and STUN server beside the coordinator: started by it, outliving it,
 * adopted by the next one, ended with it only when an administrator ends it (SPEC 2.2).
 */
#ifndef COORDINATOR_EMBEDDED_H
#define COORDINATOR_EMBEDDED_H

#include <jansson.h>

struct coordinator;
struct embedded;

struct embedded *embedded_new(struct coordinator *co); /* starts or adopts, and keeps watch */
void embedded_free(struct embedded *embedded);         /* leaves it running */
void embedded_end(struct embedded *embedded);          /* SIGTERM to it */
json_t *embedded_relays(const struct embedded *embedded); /* RELAY of the protocol */

#endif
