/*
 * reach.c - where agents find the coordinators and relays, and how they know them: what snapshots and links say.
 */
#include "coordinator.h"
#include "embedded.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/mesh/relays.h"
#include "lib/str.h"

json_t *coordinator_relays(const struct coordinator *co)
{
	json_t *relays = co->embedded ? embedded_relays(co->embedded) : json_array();

	cluster_add_relays(co->cluster, relays);
	relays_append(co, relays);
	while (json_array_size(relays) > PROTO_MAX_RELAYS)
		json_array_remove(relays, PROTO_MAX_RELAYS);
	return relays;
}

json_t *coordinator_urls(const struct coordinator *co)
{
	json_t *urls = json_array();

	for (unsigned i = 0; i < co->config.url_count; i++)
		json_array_append_new(urls, json_string(co->config.urls[i]));
	cluster_add_urls(co->cluster, urls);
	return urls;
}

json_t *coordinator_own_pins(const struct coordinator *co)
{
	json_t *pins = json_array();

	if (*co->pin || *co->next_pin)
		json_array_append_new(pins, json_string(co->tls_pin));
	if (*co->next_pin)
		json_array_append_new(pins, json_string(co->next_pin));
	return pins;
}

json_t *coordinator_pins(const struct coordinator *co)
{
	json_t *pins = coordinator_own_pins(co);

	if (json_array_size(pins))
		cluster_add_pins(co->cluster, pins);
	return pins;
}

char *coordinator_link(const struct coordinator *co, const char *key)
{
	return xasprintf("%s/join#%s%s%s", co->config.urls[0], key, *co->pin ? "." : "", co->pin);
}
