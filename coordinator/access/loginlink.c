/*
 * loginlink.c - a link is a row among the tokens, of a kind of its own: kept as a hash, gone with its user,
 * known to all coordinators.
 */
#include "loginlink.h"
#include "coordinator/coordinator.h"
#include "lib/clock.h"
#include "lib/secret.h"
#include "lib/str.h"

#define LIFETIME_MS (3600 * 1000ull)

const struct access *loginlink_make(struct coordinator *co, struct user *user, char **link)
{
	struct access like = {.kind = ACCESS_LINK, .user = user}, *access;
	char text[ACCESS_TEXT];

	if (!co->config.dashboard)
		return NULL;
	access_end_links(co, user);
	like.limits = json_deep_copy(user->roles);
	like.expires_at = clock_wall_ms() + LIFETIME_MS;
	access = access_make(co, &like, text);
	*link = xasprintf("%s/#login=%s", co->config.urls[0], text);
	secret_wipe(text, sizeof(text));
	return access;
}

struct access *loginlink_get(struct coordinator *co, const char *id)
{
	struct access *access = map_get(co->users.accesses, id);

	if (!access || access->kind != ACCESS_LINK ||
	    !access_valid(access, clock_wall_ms()) || who_raised(access->limits, access->user->roles))
		return NULL;
	return access;
}
