/*
 * A peer as the user names it: exact name, mesh address, agent id or key, else a unique prefix of
 * one. Of an id or a key, which are random, at least LETTERS of them, or a short word for a name would
 * now and then be one for a key too. Names are unique in a network only, so NAME@NETWORK is one too;
 * and peers that are the user's own are known by their key.
 */
#include "agent_parts.h"

#include "lib/str.h"
#include <string.h>

#define LETTERS     4
#define MAX_MATCHES 20
#define LABEL_TEXT  (2 * PROTO_NAME_MAX + 2)

struct matches {
	struct agent_peer *peer; /* of the first; NULL: the user's own */
	json_t *names;           /* of all, each once */
};

struct search {
	const char *text;
	bool several_networks;
	struct matches exact, prefix;
};

/* Two members of one key are one peer. */
static void add_match(struct matches *matches, struct agent_peer *peer, const char *label)
{
	size_t count = json_array_size(matches->names);

	if (count && peer && matches->peer == peer)
		return;
	if (count && !strcmp(json_string_value(json_array_get(matches->names, count - 1)), label))
		return;
	if (!count)
		matches->peer = peer;
	if (count < MAX_MATCHES)
		json_array_append_new(matches->names, json_string(label));
}

static void try_word(struct search *s, struct agent_peer *peer, const char *word, const char *label)
{
	if (strcmp(word, s->text) == 0)
		add_match(&s->exact, peer, label);
	if (str_has_prefix(word, s->text))
		add_match(&s->prefix, peer, label);
}

static void try_random(struct search *s, struct agent_peer *peer, const char *word, const char *label)
{
	if (strlen(s->text) >= LETTERS)
		try_word(s, peer, word, label);
}

static void try_member(struct search *s, struct agent_peer *peer, const struct proto_peer *member)
{
	char key[KEY_BASE64], address[ADDR_TEXT], full[LABEL_TEXT];
	const char *label = s->several_networks ? full : member->name;

	snprintf(full, sizeof(full), "%s@%s", member->name, member->network);
	key_format(key, &member->public_key);
	try_word(s, peer, member->name, label);
	try_random(s, peer, member->agent_id, label);
	try_random(s, peer, key, label);
	if (strchr(s->text, '@'))
		try_word(s, peer, full, label);
	for (unsigned i = 0; i < member->address_count; i++) {
		addr_format(address, &member->addresses[i]);
		try_word(s, peer, address, label);
	}
}

static void search_all(struct agent *agent, struct search *s)
{
	struct netmap_member *member;
	struct agent_peer *peer;
	struct wg_peer *own;
	char key[KEY_BASE64];

	for (size_t pos = 0; (peer = map_next(agent->by_key, &pos, NULL));) {
		for (member = netmap_by_key(agent->netmap, &peer->key); member;
		     member = member->next)
			try_member(s, peer, &member->peer);
	}
	for (size_t pos = 0; (own = map_next(agent->foreign, &pos, NULL));) {
		if (agent_find(agent, &own->public_key))
			continue;
		key_format(key, &own->public_key);
		try_random(s, NULL, key, key);
	}
}

static struct agent_peer *choose(struct agent *agent, struct control_client *client,
				 const struct search *s)
{
	const struct matches *found = json_array_size(s->exact.names) ? &s->exact : &s->prefix;
	size_t count = json_array_size(found->names);

	if (count == 1 && found->peer)
		return found->peer;
	if (count == 1)
		control_error(client, 1, "%s is your own peer and answers no probes",
			      json_string_value(json_array_get(found->names, 0)));
	else if (count)
		control_reply(client, json_pack("{s:b, s:i, s:s, s:O}", "ok", 0, "exit", 2, "error",
						"that could be several peers", "matches",
						found->names));
	else if (!strcmp(s->text, agent->state->name))
		control_error(client, 2, "%s is this host", s->text);
	else
		control_error(client, 2, "no peer of %s is called %.80s; see `wg-mesh status`",
			      agent->interface, s->text);
	return NULL;
}

struct agent_peer *agent_find_named(struct agent *agent, struct control_client *client,
				    const char *text)
{
	struct search s = {.text = text, .several_networks = agent->state->network_count > 1};
	struct agent_peer *peer;

	if (!text || !*text) {
		control_error(client, 2, "the request names no peer");
		return NULL;
	}
	s.exact.names = json_array();
	s.prefix.names = json_array();
	search_all(agent, &s);
	peer = choose(agent, client, &s);
	json_decref(s.exact.names);
	json_decref(s.prefix.names);
	return peer;
}

/* Among those of one network; false: it is none of them that is meant. */
static bool meant(const struct proto_peer *member, const char *text, char out[static ADDR_TEXT])
{
	const char *at = strchr(text, '@');

	for (unsigned i = 0; i < member->address_count; i++) {
		addr_format(out, &member->addresses[i]);
		if (strcmp(out, text) == 0 || (at && strcmp(member->network, at + 1) == 0))
			return true;
	}
	return false;
}

void agent_find_address(struct agent *agent, const struct agent_peer *peer, const char *text,
			char out[static ADDR_TEXT])
{
	struct netmap_member *first = netmap_by_key(agent->netmap, &peer->key), *m;

	for (m = first; m; m = m->next) {
		if (meant(&m->peer, text, out))
			return;
	}
	*out = '\0';
	if (first && first->peer.address_count)
		addr_format(out, &first->peer.addresses[0]);
}
