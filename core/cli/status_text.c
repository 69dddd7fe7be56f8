/*
 * status_text.c - a few lines on this host, then one line a peer. What is unknown shows as "-".
 */
#include "status_text.h"
#include "table.h"

static bool is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static void coordinator_line(struct buf *out, const json_t *coordinator, uint64_t wall_ms)
{
	const char *since = json_string_value(json_object_get(coordinator, "since"));
	bool connected = is_true(coordinator, "connected");

	buf_addf(out, "  coordinator  %s, %s", words_text(coordinator, "url"),
		 connected ? "connected" : "not connected");
	if (since)
		buf_addf(out, " since %s", words_age(since, wall_ms));
	buf_puts(out, "\n");
}

bool network_admitted(const json_t *network, const char *name, char why[static STATUS_WHY])
{
	if (!json_is_false(json_object_get(network, "approved")))
		return true;
	snprintf(why, STATUS_WHY,
		 "%s waits for approval in the network %s, and has no peers until then: on the "
		 "coordinator, wg-mesh-coordinator agent approve %s --network %s",
		 name, words_text(network, "name"), name, words_text(network, "name"));
	return false;
}

bool status_admitted(const json_t *status, char why[static STATUS_WHY])
{
	const json_t *coordinator = json_object_get(status, "coordinator");
	const char *code = words_text(coordinator, "refused");
	const json_t *network;
	size_t i;

	why[0] = '\0';
	if (strcmp(code, "agent_expired") == 0)
		snprintf(why, STATUS_WHY,
			 "the coordinator has expired this agent: ask its administrator for a new link, then "
			 "`wg-mesh join LINK --interface %s`; tunnels go on meanwhile",
			 words_text(status, "interface"));
	else if (*code)
		snprintf(why, STATUS_WHY,
			 "the coordinator lets this agent in no more (%s): ask its administrator for a new "
			 "link, then `wg-mesh join LINK --interface %s`",
			 code, words_text(status, "interface"));
	json_array_foreach(json_object_get(status, "networks"), i, network)
		if (!*why)
			network_admitted(network, words_text(status, "name"), why);
	return !*why;
}

static void relay_line(struct buf *out, const json_t *relay)
{
	const char *latency = words_ms(json_object_get(relay, "latency_ms"));

	if (!*words_text(relay, "home"))
		return;
	buf_addf(out, "  relay        %s%s%s%s\n", words_text(relay, "home"), *latency ? ", " : "",
		 latency, is_true(relay, "connected") ? "" : ", not connected");
}

static void nat_line(struct buf *out, const json_t *nat)
{
	const char *endpoints = words_list(nat, "endpoints"), *mapping = words_text(nat, "mapping"),
		   *filtering = words_text(nat, "filtering"),
		   *port = words_text(nat, "port_mapping");

	buf_addf(out, "  NAT          %s",
		 *words_text(nat, "type") ? words_text(nat, "type") : "unknown");
	if (*mapping || *filtering)
		buf_addf(out, " (mapping %s, filtering %s)", *mapping ? mapping : "unknown",
			 *filtering ? filtering : "unknown");
	if (*port)
		buf_addf(out, ", port mapped by %s", port);
	if (*endpoints)
		buf_addf(out, "\n  endpoints    %s", endpoints);
	buf_puts(out, "\n");
}

static const char *path_words(const json_t *peer)
{
	const char *path = words_text(peer, "path");

	if (json_is_false(json_object_get(peer, "managed")))
		return "yours";
	if (!is_true(peer, "online") && strcmp(path, "none") == 0)
		return "offline";
	return path;
}

static void add_bytes(struct table *table, const json_t *bytes)
{
	table_add(table, json_is_null(bytes) ? NULL : words_bytes(json_number_value(bytes)));
}

static void peer_row(struct table *table, const json_t *peer, uint64_t wall_ms)
{
	const char *relay = words_text(peer, "relay"), *name = words_text(peer, "name");
	const char *handshake = json_string_value(json_object_get(peer, "last_handshake"));
	char short_key[12];

	snprintf(short_key, sizeof(short_key), "%.8s", words_text(peer, "public_key"));
	table_add(table, *name ? name : short_key);
	table_add(table, *words_list(peer, "addresses") ? words_list(peer, "addresses")
							: words_list(peer, "allowed_ips"));
	table_addf(table, "%s%s", path_words(peer), *words_text(peer, "pinned") ? " (pinned)" : "");
	table_add(table, strcmp(words_text(peer, "path"), "relay") == 0 && *relay
				 ? relay
				 : words_text(peer, "endpoint"));
	table_add(table, words_ms(json_object_get(peer, "latency_ms")));
	table_add(table, handshake ? words_age(handshake, wall_ms) : NULL);
	add_bytes(table, json_object_get(peer, "rx_bytes"));
	add_bytes(table, json_object_get(peer, "tx_bytes"));
}

static void peers_table(struct buf *out, const json_t *peers, bool admitted, uint64_t wall_ms)
{
	static const char *const heads[] = {"PEER",    "ADDRESS",   "PATH",     "ENDPOINT",
					    "LATENCY", "HANDSHAKE", "RECEIVED", "SENT"};
	struct table table;
	json_t *peer;
	size_t i;

	if (json_array_size(peers) == 0) {
		if (admitted)
			buf_puts(out, "\nno peers yet: join another host with a link from the "
				      "coordinator\n");
		return;
	}
	table_init(&table, ARRAY_SIZE(heads));
	for (i = 0; i < ARRAY_SIZE(heads); i++)
		table_add(&table, heads[i]);
	json_array_foreach(peers, i, peer) peer_row(&table, peer, wall_ms);
	buf_puts(out, "\n");
	table_print(&table, out);
	table_fini(&table);
}

void status_text(struct buf *out, const json_t *status, uint64_t wall_ms)
{
	const json_t *networks = json_object_get(status, "networks"), *network;
	char why[STATUS_WHY];
	size_t i;

	buf_addf(out, "%s: %s", words_text(status, "interface"), words_text(status, "name"));
	if (json_array_size(networks) == 0)
		buf_addf(out, " in %s, %s", words_text(status, "network"),
			 words_list(status, "addresses"));
	json_array_foreach(networks, i, network)
		buf_addf(out, "%s in %s, %s", i ? ";" : "", words_text(network, "name"),
			 words_list(network, "addresses"));
	buf_puts(out, "\n");
	buf_addf(out, "  public key   %s\n", words_text(status, "public_key"));
	coordinator_line(out, json_object_get(status, "coordinator"), wall_ms);
	relay_line(out, json_object_get(status, "relay"));
	nat_line(out, json_object_get(status, "nat"));
	if (!status_admitted(status, why))
		buf_addf(out, "  %s\n", why);
	peers_table(out, json_object_get(status, "peers"), !*why, wall_ms);
}

bool status_healthy(const json_t *status, char why[static STATUS_WHY])
{
	const json_t *peers = json_object_get(status, "peers"), *peer;
	size_t i;

	why[0] = '\0';
	if (!is_true(json_object_get(status, "coordinator"), "connected")) {
		snprintf(why, STATUS_WHY, "the coordinator %s is not connected",
			 words_text(json_object_get(status, "coordinator"), "url"));
		return false;
	}
	json_array_foreach(peers, i, peer)
	{
		if (json_is_false(json_object_get(peer, "managed")) || !is_true(peer, "online"))
			continue;
		if (strcmp(words_text(peer, "path"), "none") != 0)
			continue;
		snprintf(why, STATUS_WHY, "%s is online and has no path", words_text(peer, "name"));
		return false;
	}
	return true;
}
