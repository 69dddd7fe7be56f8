/*
 * The status document. Its keys are a contract (SPEC 2.1): they are only ever added to.
 */
#include "status.h"

static json_t *endpoint_or_null(const struct endpoint *endpoint)
{
	return endpoint->addr.family ? js_from_endpoint(endpoint) : json_null();
}

static json_t *networks_json(const struct status *status, json_t *all_addresses)
{
	json_t *networks = json_array();

	for (size_t i = 0; i < status->network_count; i++) {
		const struct proto_network *n = &status->networks[i];
		json_t *addresses = json_array();

		for (unsigned j = 0; j < n->address_count; j++) {
			json_array_append_new(addresses, js_from_prefix(&n->addresses[j]));
			json_array_append_new(all_addresses, js_from_prefix(&n->addresses[j]));
		}
		json_array_append_new(
			networks, json_pack("{s:s, s:o, s:b}", "name", n->name, "addresses",
					    addresses, "approved", !n->pending));
	}
	return networks;
}

static json_t *nat_json(const struct status *status)
{
	const struct proto_endpoints *at = status->at;
	json_t *endpoints = json_array();

	for (unsigned i = 0; i < at->count; i++)
		json_array_append_new(endpoints, js_from_endpoint(&at->endpoints[i]));
	if (!at->count && at->endpoint.addr.family)
		json_array_append_new(endpoints, js_from_endpoint(&at->endpoint));
	return json_pack("{s:s, s:o, s:o, s:o, s:n}", "type", nat_type_name(at->nat_type),
			 "mapping", js_from_string(status->mapping), "filtering",
			 js_from_string(status->filtering), "endpoints", endpoints, "port_mapping");
}

json_t *status_json(const struct status *status)
{
	json_t *addresses = json_array(), *document = json_object();
	json_t *networks = networks_json(status, addresses);
	const char *network = status->network_count ? status->networks[0].name : NULL;

	json_object_set_new(document, "schema", json_integer(1));
	json_object_set_new(document, "interface", js_from_string(status->interface));
	json_object_set_new(document, "network", js_from_string(network));
	json_object_set_new(document, "networks", networks);
	json_object_set_new(document, "name", js_from_string(status->name));
	json_object_set_new(document, "agent_id", js_from_string(status->agent_id));
	json_object_set_new(document, "public_key", js_from_key(&status->public_key));
	json_object_set_new(document, "addresses", addresses);
	json_object_set_new(document, "coordinator",
			    json_pack("{s:o, s:b, s:o, s:o}", "url",
				      js_from_string(status->coordinator_url), "connected",
				      status->coordinator_connected, "since",
				      js_from_time(status->coordinator_since_wall_ms), "refused",
				      js_from_text(status->coordinator_refusal)));
	json_object_set_new(document, "relay",
			    json_pack("{s:n, s:b, s:n}", "home", "connected", 0, "latency_ms"));
	json_object_set_new(document, "nat", nat_json(status));
	json_object_set_new(document, "peers", json_array());
	return document;
}

static json_t *bytes_or_null(const struct status_peer *peer, uint64_t bytes)
{
	return peer->no_tunnel ? json_null() : json_integer((json_int_t)bytes);
}

void status_add_peer(json_t *document, const struct status_peer *peer)
{
	json_t *addresses = json_array(), *allowed = json_array(), *networks = json_array();
	json_t *one = json_object();

	for (unsigned i = 0; i < peer->address_count; i++)
		json_array_append_new(addresses, js_from_addr(&peer->addresses[i]));
	for (size_t i = 0; i < peer->allowed_count; i++)
		json_array_append_new(allowed, js_from_prefix(&peer->allowed[i]));
	for (unsigned i = 0; i < peer->network_count; i++)
		json_array_append_new(networks, json_string(peer->networks[i]));
	json_object_set_new(one, "name", js_from_string(peer->name));
	json_object_set_new(one, "agent_id", js_from_string(peer->agent_id));
	json_object_set_new(one, "public_key", js_from_key(&peer->public_key));
	json_object_set_new(one, "addresses", addresses);
	json_object_set_new(one, "allowed_ips", allowed);
	json_object_set_new(one, "online",
			    peer->agent_id ? json_boolean(peer->online) : json_null());
	json_object_set_new(one, "path", json_string(path_name(peer->path)));
	json_object_set_new(one, "endpoint", endpoint_or_null(&peer->endpoint));
	json_object_set_new(one, "relay", json_null());
	json_object_set_new(one, "pinned", json_null());
	json_object_set_new(one, "latency_ms", js_from_ms(peer->latency_ms));
	json_object_set_new(one, "last_handshake", js_from_time(peer->last_handshake_wall_ms));
	json_object_set_new(one, "rx_bytes", bytes_or_null(peer, peer->rx_bytes));
	json_object_set_new(one, "tx_bytes", bytes_or_null(peer, peer->tx_bytes));
	json_object_set_new(one, "nat_type", js_from_string(peer->nat_type));
	json_object_set_new(one, "networks", networks);
	json_object_set_new(one, "managed", json_boolean(peer->managed));
	json_array_append_new(json_object_get(document, "peers"), one);
}
