/*
 * discovery.h - the agent's view of its discovery plugins: asks them all, merges what they found
 * into candidates of this host and one opinion about the NAT.
 */
#ifndef CORE_DISCOVERY_H
#define CORE_DISCOVERY_H

#include "lib/proto.h"
#include "plugin_host.h"

struct discovery;
typedef void discovery_changed_fn(void *arg); /* candidates or NAT have changed */

struct discovery *discovery_new(struct plugin_host *host, discovery_changed_fn *fn, void *arg);
void discovery_free(struct discovery *discovery);
void discovery_refresh(struct discovery *discovery); /* look again, all of them */
/* The merged result: endpoints by preference (mapped, server reflexive, static), local ones (host). */
void discovery_result(const struct discovery *discovery, struct proto_endpoints *out);
const char *discovery_mapping(const struct discovery *discovery);   /* "endpoint-independent" ... NULL: unknown */
const char *discovery_filtering(const struct discovery *discovery); /* the same words */

#endif
