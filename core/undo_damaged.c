/*
 * A ledger that cannot be read says nothing of what is ours. The saved map does, nearly: our own
 * addresses, the peers that were ours when it was saved; and our routes have our protocol number. So
 * a new ledger is made of these, and undone as any other. What of it is not there does no harm.
 */
#include "undo.h"

#include "ledger.h"
#include "link.h"
#include "state.h"
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>

static int add_addresses(struct ledger *ledger, const struct state *state)
{
	struct ledger_entry entry = {.kind = LEDGER_ADDRESS};
	int error = 0;

	for (size_t i = 0; i < state->network_count; i++) {
		const struct proto_network *network = &state->networks[i];

		for (unsigned j = 0; j < network->address_count && !error; j++) {
			entry.prefix = network->addresses[j];
			error = ledger_add(ledger, &entry);
			entry.prefix = prefix_host(&network->addresses[j].addr);
			if (!error) /* with Table = off it is alone */
				error = ledger_add(ledger, &entry);
		}
	}
	return error;
}

static int add_peers(struct ledger *ledger, const struct state *state)
{
	struct ledger_entry entry = {.kind = LEDGER_PEER};
	int error = 0;
	json_t *peer;
	size_t i;

	json_array_foreach(json_object_get(state->map, "peers"), i, peer) {
		const char *key = json_string_value(json_object_get(peer, "public_key"));

		if (!error && key && key_parse(&entry.key, key) &&
		    json_is_true(json_object_get(peer, "managed")))
			error = ledger_add(ledger, &entry);
	}
	return error;
}

static int add_routes(struct ledger *ledger, uint32_t ifindex)
{
	struct ledger_entry entry = {.kind = LEDGER_ROUTE};
	struct link_route *routes = NULL;
	struct link *link;
	size_t count = 0;
	int error = link_open(&link);

	if (error)
		return error;
	error = link_routes(link, 0, &routes, &count);
	for (size_t i = 0; i < count && !error; i++) {
		if (routes[i].protocol != LINK_PROTOCOL || routes[i].ifindex != ifindex)
			continue;
		entry.prefix = routes[i].to;
		entry.number = routes[i].table;
		error = ledger_add(ledger, &entry);
	}
	free(routes);
	link_close(link);
	return error;
}

/* In place of the damaged one. */
static int rebuild(const char *interface, const struct paths *paths, const struct state *state)
{
	uint32_t ifindex = if_nametoindex(interface);
	struct ledger *ledger;
	int error = ledger_open(&ledger, paths->ledger, ifindex);

	if (error || !ifindex) { /* all went with the interface */
		if (!error)
			ledger_close(ledger);
		return error;
	}
	error = add_addresses(ledger, state);
	if (!error)
		error = add_peers(ledger, state);
	if (!error)
		error = add_routes(ledger, ifindex);
	ledger_close(ledger);
	return error;
}

int undo_all(const char *interface, const struct paths *paths, bool *damaged)
{
	char why[JS_ERROR];
	struct ledger *ledger;
	struct state *state;
	int error = ledger_read(&ledger, paths->ledger);

	*damaged = error == -EBADMSG;
	if (!error)
		ledger_close(ledger);
	if (*damaged) {
		if (state_load(&state, paths->state, why) < 0)
			return -EBADMSG;
		error = rebuild(interface, paths, state);
		state_free(state);
		if (error)
			return error;
	}
	return undo_interface(interface, paths->ledger);
}
