/*
 * find.c - the words of people to agents. What is exact goes before what is a beginning, so that an agent
 * whose name begins another's can be named at all.
 */
#include "find.h"
#include "who.h"
#include "lib/str.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TOLD 8 /* agents, or networks, that a refusal names */

struct search {
	const char *text;
	bool is_key, is_address;
	struct key key;
	struct addr address;
	struct member *found[MAX_TOLD];
	unsigned count; /* of agents that fit; more than MAX_TOLD: not all are in found */
};

static bool looked_at(const struct network *network, const struct network *only, const struct who *who)
{
	return (!only || network == only) && (!who || who_sees(who, network));
}

/* What is not on the disk yet is nobody's to see. */
static bool seen(const struct member *member, const struct network *only, const struct who *who)
{
	return looked_at(member->network, only, who) && (!who || who_shown(who, member->made_in));
}

static bool address_begins(const struct addr *addr, const char *text)
{
	char written[ADDR_TEXT];

	if (!addr->family)
		return false;
	addr_format(written, addr);
	return str_has_prefix(written, text);
}

static bool begins(const struct search *s, const struct member *member, enum find_how how)
{
	bool letters = strlen(s->text) >= FIND_LETTERS;
	char key[KEY_BASE64];

	if (letters && str_has_prefix(member->agent->id, s->text))
		return true;
	if (how != FIND_ANY)
		return false;
	key_format(key, &member->agent->public_key);
	return (letters && str_has_prefix(key, s->text)) || str_has_prefix(member->name, s->text) ||
	       address_begins(&member->address, s->text) || address_begins(&member->address6, s->text);
}

/* Several memberships of one agent are one. */
static void add(struct search *s, struct member *member)
{
	for (unsigned i = 0; i < MIN(s->count, (unsigned)MAX_TOLD); i++)
		if (s->found[i]->agent == member->agent)
			return;
	if (s->count < MAX_TOLD)
		s->found[s->count] = member;
	s->count++;
}

static void look_exactly(const struct coordinator *co, const struct network *only, const struct who *who,
			 struct search *s)
{
	const struct agent *agent = s->is_key ? map_get(co->mesh.agents_by_key, s->key.bytes)
					      : map_get(co->mesh.agents, s->text);
	struct network *network;

	list_each(network, &co->mesh.networks, node) {
		struct member *fit[] = {
			agent ? mesh_member(agent, network) : NULL,
			s->is_address ? map_get(network->addresses, &s->address) : map_get(network->names, s->text),
		};

		for (size_t i = 0; i < ARRAY_SIZE(fit); i++)
			if (fit[i] && seen(fit[i], only, who))
				add(s, fit[i]);
	}
}

static void look_for_beginnings(const struct coordinator *co, const struct network *only, const struct who *who,
				struct search *s, enum find_how how)
{
	struct network *network;
	struct member *member;

	list_each(network, &co->mesh.networks, node)
		if (looked_at(network, only, who))
			list_each(member, &network->members, in_network)
				if (seen(member, only, who) && begins(s, member, how))
					add(s, member);
}

static void several(const struct search *s, struct refusal *why)
{
	struct buf names;

	buf_init(&names, 0);
	for (unsigned i = 0; i < MIN(s->count, (unsigned)MAX_TOLD); i++) {
		if (names.len > 200) /* the sentence has an end */
			break;
		buf_addf(&names, "%s%s (network %s)", i ? ", " : "", s->found[i]->name,
			 s->found[i]->network->name);
		if (i + 1 < s->count && (i + 1 == MAX_TOLD || names.len > 200))
			buf_addf(&names, " and others");
	}
	refuse(why, 400, "ambiguous", "%.60s could be %s: say more of it, its network, or its id from "
	       "{agent list}", s->text, buf_text(&names));
	buf_free(&names);
}

static void look_for_nearest(const struct coordinator *co, const struct network *only, const struct who *who,
			     struct nearest *nearest)
{
	struct network *network;
	struct member *member;

	list_each(network, &co->mesh.networks, node)
		if (looked_at(network, only, who))
			list_each(member, &network->members, in_network)
				if (seen(member, only, who) && !nearest_offer(nearest, member->name))
					return;
}

bool find_none(const struct coordinator *co, const struct network *only, const struct who *who,
	       const char *text, struct refusal *why)
{
	struct nearest nearest;

	nearest_init(&nearest, text);
	look_for_nearest(co, only, who, &nearest);
	if (nearest.found)
		return refuse(why, 404, "unknown_agent", "there is no agent %.100s, did you mean %s?", text,
			      nearest.found);
	return refuse(why, 404, "unknown_agent", who ? "there is no agent %.100s: see {agent list}"
						     : "there is no agent %.100s", text);
}

struct member *find_agent(const struct coordinator *co, const struct network *only, const struct who *who,
			  const char *text, enum find_how how, struct refusal *why)
{
	struct search s = {.text = text};

	s.is_key = key_parse(&s.key, text);
	s.is_address = addr_parse(&s.address, text);
	look_exactly(co, only, who, &s);
	if (!s.count && *text && !s.is_key && how != FIND_EXACT)
		look_for_beginnings(co, only, who, &s, how);
	if (s.count == 1)
		return s.found[0];
	if (s.count)
		several(&s, why);
	else
		find_none(co, only, who, text, why);
	return NULL;
}

bool find_only(const struct member *member, const struct who *who, struct refusal *why)
{
	const struct member *each;
	struct buf names;
	unsigned count = 0;

	buf_init(&names, 0);
	list_each(each, &member->agent->members, in_agent) {
		if (!seen(each, NULL, who))
			continue;
		if (names.len < 200)
			buf_addf(&names, "%s%s", count ? ", " : "", each->network->name);
		count++;
	}
	if (count > 1)
		refuse(why, 400, "ambiguous", "%s is in several networks (%s): say which (network)", member->name,
		       buf_text(&names));
	buf_free(&names);
	return count < 2;
}
