/*
 * registry_route.c - routes that agents offer. What no agent would take is refused where it is offered and
 * where it is approved, so that nobody waits for a route that never comes: rule 6 of the contract, as far
 * as it does not depend on the host that takes it.
 */
#include "registry.h"
#include "coordinator/sync/sync.h"

bool registry_route_ok(const struct network *network, const struct prefix *prefix, struct refusal *why)
{
	bool v4 = prefix->addr.family == AF_INET;
	const char *what = prefix_reserved(prefix);
	char text[PREFIX_TEXT];

	if (!prefix->bits) /* an exit: taken by those alone who choose it */
		return true;
	prefix_format(text, prefix);
	if (prefix->bits < (v4 ? 8 : 16) && (!what || prefix->bits < 4)) /* a quarter of all overlaps much */
		return refuse(why, 422, "route_invalid", "%s is no route that agents take: it is shorter than /%d; an exit "
			      "for everything is %s", text, v4 ? 8 : 16, v4 ? "0.0.0.0/0" : "::/0");
	if (what)
		return refuse(why, 422, "route_invalid", "%s is no route that agents take: it overlaps %s", text, what);
	if (prefix_overlaps(&network->cidr, prefix) || prefix_overlaps(&network->cidr6, prefix))
		return refuse(why, 422, "route_invalid", "%s is no route that agents take: it overlaps the range of the "
			      "network %s itself", text, network->name);
	return true;
}

bool registry_route(struct coordinator *co, struct member *member, const struct prefix *prefix,
		    bool approved, const char *actor, struct refusal *why)
{
	char text[PREFIX_TEXT];

	prefix_format(text, prefix);
	for (unsigned i = 0; i < member->route_count; i++) {
		if (!prefix_equal(&member->routes[i].prefix, prefix))
			continue;
		if (approved && !registry_route_ok(member->network, prefix, why))
			return false;
		member->routes[i].approved = approved;
		member->routes[i].by = ROUTE_BY_ADMIN;
		store_write(co->store, STORE_ROUTE_SET,
			    (struct store_value[]){store_text(member->agent->id),
						   store_text(member->network->id), store_text(text),
						   store_int(route_word(&member->routes[i]))});
		registry_audit_in(co, member->network, actor, approved ? "route-approved" : "route-revoked",
				  member->agent->id, text);
		sync_put(co->sync, member);
		return true;
	}
	return refuse(why, 404, "unknown_route", "%s does not advertise %s: see {route list}", member->name,
		      text);
}
