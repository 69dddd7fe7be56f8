/*
 * find.c - the words of people to agents. What is exact goes before what is a beginning, so that an agent
 * whose name begins another's can be named at all.
 */
#include "find.h"
#include "device.h"
#include "coordinator/access/who.h"
#include "lib/str.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TOLD 8 /* agents, or networks, that a refusal names */

struct search {
	const struct coordinator *co;
	const struct network *only;
	const struct who *who;
	const char *text;
	enum find_how how;
	bool devices; /* they are looked at too */
	bool is_key, is_address;
	struct key key;
	struct addr address;
	struct found found[MAX_TOLD];
	unsigned count; /* of agents and devices that fit; more than MAX_TOLD: not all are in found */
};

static bool looked_at(const struct search *s, const struct network *network)
{
	return (!s->only || network == s->only) && (!s->who || who_sees(s->who, network));
}

/* What is not on the disk yet is nobody's to see. */
static bool seen(const struct search *s, const struct network *network, uint64_t made_in)
{
	return looked_at(s, network) && (!s->who || who_shown(s->who, made_in));
}

static bool address_begins(const struct addr *addr, const char *text)
{
	char written[ADDR_TEXT];

	if (!addr->family)
		return false;
	addr_format(written, addr);
	return str_has_prefix(written, text);
}

static bool begins(const struct search *s, const char *id, const char *name, const struct key *public_key,
		   const struct addr *address, const struct addr *address6)
{
	bool letters = strlen(s->text) >= FIND_LETTERS;
	char key[KEY_BASE64];

	if (letters && str_has_prefix(id, s->text))
		return true;
	if (s->how != FIND_ANY)
		return false;
	key_format(key, public_key);
	return (letters && str_has_prefix(key, s->text)) || str_has_prefix(name, s->text) ||
	       address_begins(address, s->text) || address_begins(address6, s->text);
}

/* Where it may be seen. Several memberships of one agent are one. */
static void add_member(struct search *s, struct member *member)
{
	if (!member || !seen(s, member->network, member->made_in))
		return;
	for (unsigned i = 0; i < MIN(s->count, (unsigned)MAX_TOLD); i++)
		if (s->found[i].member && s->found[i].member->agent == member->agent)
			return;
	if (s->count < MAX_TOLD)
		s->found[s->count] = (struct found){.member = member};
	s->count++;
}

static void add_device(struct search *s, struct device *device)
{
	if (!device || !seen(s, device->network, device->made_in))
		return;
	if (s->count < MAX_TOLD)
		s->found[s->count] = (struct found){.device = device};
	s->count++;
}

static void look_exactly(struct search *s)
{
	const struct agent *agent = s->is_key ? map_get(s->co->mesh.agents_by_key, s->key.bytes)
					      : map_get(s->co->mesh.agents, s->text);
	struct network *network;

	list_each(network, &s->co->mesh.networks, node) {
		if (agent)
			add_member(s, mesh_member(agent, network));
		add_member(s, s->is_address ? map_get(network->addresses, &s->address)
					    : map_get(network->names, s->text));
		if (s->devices)
			add_device(s, s->is_key	      ? device_by_key(network, &s->key)
				      : s->is_address ? device_at(network, &s->address)
						      : device_named(network, s->text));
	}
	if (s->devices)
		add_device(s, map_get(s->co->mesh.devices, s->text));
}

static void look_for_beginnings(struct search *s)
{
	struct network *network;
	struct member *member;
	struct device *device;
	size_t pos = 0;

	list_each(network, &s->co->mesh.networks, node)
		if (looked_at(s, network))
			list_each(member, &network->members, in_network)
				if (begins(s, member->agent->id, member->name, &member->agent->public_key,
					   &member->address, &member->address6))
					add_member(s, member);
	while (s->devices && (device = map_next(s->co->mesh.devices, &pos, NULL)))
		if (begins(s, device->id, device->name, &device->public_key, &device->address,
			   &device->address6))
			add_device(s, device);
}

static void several(const struct search *s, struct refusal *why)
{
	struct buf names;

	buf_init(&names, 0);
	for (unsigned i = 0; i < MIN(s->count, (unsigned)MAX_TOLD); i++) {
		const struct found *found = &s->found[i];

		if (names.len > 200) /* the sentence has an end */
			break;
		buf_addf(&names, "%s%s (%snetwork %s)", i ? ", " : "",
			 found->member ? found->member->name : found->device->name,
			 found->member ? "" : "a device, ",
			 found->member ? found->member->network->name : found->device->network->name);
		if (i + 1 < s->count && (i + 1 == MAX_TOLD || names.len > 200))
			buf_addf(&names, " and others");
	}
	refuse(why, 400, "ambiguous", "%.60s could be %s: say more of it, its network, or its id from "
	       "{agent list}", s->text, buf_text(&names));
	buf_free(&names);
}

static void look_for_nearest(const struct search *s, struct nearest *nearest)
{
	struct network *network;
	struct member *member;
	struct device *device;
	size_t pos = 0;

	list_each(network, &s->co->mesh.networks, node)
		if (looked_at(s, network))
			list_each(member, &network->members, in_network)
				if (seen(s, network, member->made_in) && !nearest_offer(nearest, member->name))
					return;
	while (s->devices && (device = map_next(s->co->mesh.devices, &pos, NULL)))
		if (seen(s, device->network, device->made_in) && !nearest_offer(nearest, device->name))
			return;
}

/* Always false. */
static bool none(const struct search *s, struct refusal *why)
{
	const char *what = s->devices ? "agent or device" : "agent";
	struct nearest nearest;

	nearest_init(&nearest, s->text);
	look_for_nearest(s, &nearest);
	if (nearest.found)
		return refuse(why, 404, "unknown_agent", "there is no %s %.100s, did you mean %s?", what, s->text,
			      nearest.found);
	return refuse(why, 404, "unknown_agent", s->who ? "there is no %s %.100s: see {agent list}"
							: "there is no %s %.100s", what, s->text);
}

bool find_none(const struct coordinator *co, const struct network *only, const struct who *who,
	       const char *text, struct refusal *why)
{
	return none(&(struct search){.co = co, .only = only, .who = who, .text = text, .devices = true}, why);
}

/* The one that fits; false: refused. */
static bool find(struct search *s, struct refusal *why)
{
	s->is_key = key_parse(&s->key, s->text);
	s->is_address = addr_parse(&s->address, s->text);
	look_exactly(s);
	if (!s->count && *s->text && !s->is_key && s->how != FIND_EXACT)
		look_for_beginnings(s);
	if (s->count == 1)
		return true;
	if (s->count)
		several(s, why);
	else
		none(s, why);
	return false;
}

struct member *find_agent(const struct coordinator *co, const struct network *only, const struct who *who,
			  const char *text, enum find_how how, struct refusal *why)
{
	struct search s = {.co = co, .only = only, .who = who, .text = text, .how = how};

	return find(&s, why) ? s.found[0].member : NULL;
}

bool find_party(const struct coordinator *co, const struct network *only, const struct who *who,
		const char *text, struct found *out, struct refusal *why)
{
	struct search s = {.co = co, .only = only, .who = who, .text = text, .how = FIND_ANY, .devices = true};
	bool found = find(&s, why);

	*out = s.found[0];
	return found;
}

bool find_only(const struct member *member, const struct who *who, struct refusal *why)
{
	const struct search s = {.who = who};
	const struct member *each;
	struct buf names;
	unsigned count = 0;

	buf_init(&names, 0);
	list_each(each, &member->agent->members, in_agent) {
		if (!seen(&s, each->network, each->made_in))
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
