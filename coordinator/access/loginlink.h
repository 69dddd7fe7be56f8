/*
 * loginlink.h - links to the dashboard, "https://HOST:PORT/#login=SECRET". What follows # is in no request
 * line and no log; the page sends it in a body (api_session.c), which begins a session of the link's user,
 * once, within an hour.
 */
#ifndef COORDINATOR_LOGINLINK_H
#define COORDINATOR_LOGINLINK_H

#include "users.h"

/* *link is new; wipe it. The user's earlier links end. NULL: the dashboard is off. */
const struct access *loginlink_make(struct coordinator *co, struct user *user, char **link);
/* The link that has this id, if it serves: one that was made before its user got more does not, for who made it
 * may not have that. */
struct access *loginlink_get(struct coordinator *co, const char *id);

#endif
