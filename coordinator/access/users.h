/*
 * users.h - people, and what they come in with: API tokens, browser sessions, links to the dashboard.
 * Kept in memory and in the database; passwords as Argon2id (password.h), the rest as SHA-256.
 */
#ifndef COORDINATOR_USERS_H
#define COORDINATOR_USERS_H

#include "who.h"

#define ACCESS_PREFIX "wgm_"
#define ACCESS_TEXT   64 /* with NUL */

struct coordinator;

struct user {
	char name[PROTO_NAME_MAX];
	char *password;  /* crypto_pwhash_str; NULL: logs in by a link alone */
	json_t *roles;
	uint64_t created_at, last_login; /* wall ms */
	uint64_t made_in; /* as a network's */
};

/* As the database has it. A link is to the dashboard: it becomes a session, once. */
enum access_kind { ACCESS_TOKEN, ACCESS_SESSION, ACCESS_LINK, ACCESS_KINDS };

struct access { /* what somebody comes in with */
	char id[PROTO_ID_MAX];
	uint8_t hash[HASH_LEN];
	enum access_kind kind;
	struct user *user;      /* NULL: nobody's; then it has limits */
	char label[PROTO_NAME_MAX];
	/* NULL: as its user; all. A link, and what it begins, is held to the roles of when it was made. */
	json_t *limits, *scopes;
	uint64_t created_at, expires_at, used_at; /* wall ms; 0: never */
	uint64_t made_in; /* as a network's */
};

struct users {
	struct map *by_name, *accesses, *accesses_by_hash;
};

void users_init(struct users *users);
void users_fini(struct users *users);
int users_load(struct coordinator *co);
/* As another coordinator has written it: made or changed; forgotten. Nothing is written. */
void user_row(void *co, const struct store_value *row);
void user_gone(struct coordinator *co, const char *name);
void access_row(void *co, const struct store_value *row);
void access_gone(struct coordinator *co, const char *id);

struct user *user_add(struct coordinator *co, const char *name); /* not written yet */
void user_write(struct coordinator *co, const struct user *user); /* that is new */
void user_write_password(struct coordinator *co, const struct user *user);
/* Refused where another coordinator has given it others than `before`. */
void user_write_roles(struct coordinator *co, const struct user *user, const json_t *before);
void user_remove(struct coordinator *co, struct user *user); /* with all it came in with */

/* The text goes to `text` and nowhere else. `like` has user, kind, label, limits, scopes (its JSON is
 * taken) and expires_at. */
struct access *access_make(struct coordinator *co, const struct access *like, char text[static ACCESS_TEXT]);
void access_end(struct coordinator *co, struct access *access);
/* The same of a link that serves now: where another coordinator was quicker, all that is written with it is
 * refused. */
void access_spend(struct coordinator *co, struct access *access);
void access_end_links(struct coordinator *co, const struct user *user);
/* Sessions of this user but `but`, and links. */
void access_end_sessions(struct coordinator *co, const struct user *user, const char *but);
void access_sweep(struct coordinator *co, uint64_t wall_ms); /* those that have ended */
/* By its text; NULL: unknown or ended. */
struct access *access_find(struct coordinator *co, const char *text, uint64_t wall_ms);
bool access_valid(const struct access *access, uint64_t wall_ms);
/* What comes by it, from this address. */
void who_access(struct who *who, const struct access *access, const char *address);
/* What this one may as of now. False: what it came by has ended. */
bool who_refresh(const struct coordinator *co, struct who *who);

/* Roles as the API has them: [{"network": NAME, or null for everything, "role"}], new; of networks that
 * `who` sees. */
json_t *roles_json(const struct coordinator *co, const struct who *who, const json_t *roles);

/* What a token, session or link may now, as roles; new. NULL: what its user may. */
json_t *access_reach(const struct access *access);

/* Who made a join key, as the database keeps it: {"root": true}, or "user" by name, "limits" of the token it
 * was made by, or both; new. */
json_t *maker_json(const struct who *who);
/* The first of the tags that the policy does not let the maker give, as that one is now; a user that was
 * removed is nobody. NULL: none, or the maker is not known (maker NULL). */
const char *maker_lacks_tag(const struct coordinator *co, const json_t *maker, const struct policy *policy,
			    const struct network *network, const json_t *tags);

#endif
