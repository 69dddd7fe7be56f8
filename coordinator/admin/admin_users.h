/*
 * admin_users.h - who may manage whom; for admin_users.c and admin_tokens.c.
 */
#ifndef COORDINATOR_ADMIN_USERS_H
#define COORDINATOR_ADMIN_USERS_H

#include "admin_commands.h"

bool admin_manages(struct coordinator *co, const struct who *who, const struct user *user);
bool admin_is_self(const struct who *who, const struct user *user); /* user NULL: no */
/* Where the audit has it: in the one network that all these roles are for, so that its administrators
 * see it too; else NULL. */
const struct network *admin_home_of(const struct coordinator *co, const json_t *roles);

#endif
