/*
 * store.h - what must survive: rows in a database. The coordinator works from memory; it reads the
 * tables once at the start and from then on mostly writes.
 *
 * Writes are queued, and all of one loop wake are committed together by a thread of their own, so
 * that no fsync stops the loop. Who answers for a write waits with store_wait: its function is
 * called on the loop when everything written so far is on the disk. When a commit fails it is tried
 * again each second, nobody is answered meanwhile, and store_behind() is true; so it is where one gets no
 * answer for some seconds.
 *
 * Other coordinators may write to the same database. What of ours its constraints do not allow is
 * refused as a whole group (what was written since store_begin); the rest goes through.
 *
 * What a statement does is named here; how is in store_sql.c, for SQLite and PostgreSQL alike.
 */
#ifndef COORDINATOR_STORE_H
#define COORDINATOR_STORE_H

#include "coordinator/histogram.h"
#include "lib/loop.h"

enum store_type { STORE_NULL, STORE_INT, STORE_TEXT, STORE_BLOB };

struct store_value {
	enum store_type type;
	int64_t number;
	const void *data; /* borrowed for the call */
	size_t len;
};

/* Statements, with their values in order. The first is the id of what it is about. PUT makes a row, and is
 * refused where there is one, unless it says otherwise; the others change what they name alone, for memory may be
 * older than the row. */
enum store_write {
	STORE_NETWORK_PUT,  /* id, name, cidr, cidr6, created_at, approve */
	STORE_NETWORK_SET,  /* id, approve */
	STORE_NETWORK_DEL,  /* id */
	STORE_AGENT_PUT,    /* id, public_key, created_at, capabilities, tokens_from */
	STORE_AGENT_SET,    /* id, capabilities; of one that is there */
	STORE_AGENT_KEY,    /* id, public_key; of one that is there and has not expired everywhere */
	STORE_AGENT_TOKENS, /* id, tokens_from */
	STORE_AGENT_ALONE,  /* id, network_ids; one that is in none but these, in one text */
	STORE_AGENT_SEEN,   /* id, endpoints, last_seen, online, home, home_since; not over a later home */
	STORE_AGENT_DEL,    /* id */
	STORE_MEMBER_PUT,   /* agent_id, network_id, name, address4, address6, tags, key_id, joined_at,
			       pending, ephemeral */
	STORE_MEMBER_NAME,  /* agent_id, network_id, name; this and those that follow: of one that is there */
	STORE_MEMBER_TAGS,  /* agent_id, network_id, tags */
	STORE_MEMBER_KEY,   /* agent_id, network_id, tags, key_id */
	STORE_MEMBER_AGAIN, /* agent_id, network_id, ephemeral: 0 or, where it was, still 1 */
	STORE_MEMBER_APPROVE, /* agent_id, network_id: not pending */
	STORE_MEMBER_EXPIRE, /* agent_id, network_id */
	STORE_MEMBER_RETURN, /* agent_id, network_id: not expired, and will not */
	STORE_MEMBER_EXPIRY, /* agent_id, network_id, expires_at */
	STORE_MEMBER_DEL,   /* agent_id, network_id */
	STORE_ROUTE_PUT,    /* agent_id, network_id, prefix, approved; in the place of all but an administrator's
			       word */
	STORE_ROUTE_JUDGE,  /* agent_id, network_id, prefix, approved; the same, where it is there */
	STORE_ROUTE_SET,    /* agent_id, network_id, prefix, approved: an administrator's word on one that is
			       there */
	STORE_ROUTES_KEEP,  /* agent_id, network_id, prefixes, each with a blank on either side; others go */
	STORE_KEY_PUT,      /* id, hash, network_id, reusable, ephemeral, name, tags, created_at,
			       expires_at, used_at, used_by, revoked_at, maker */
	STORE_KEY_USE,      /* id, used_at, used_by; one that may still be used */
	STORE_KEY_REVOKE,   /* id, revoked_at */
	STORE_RETIRED_PUT,  /* network_id, address, until; in the place of another */
	STORE_RETIRED_DEL,  /* until: those before */
	STORE_AUDIT_PUT,    /* at, actor, action, subject, detail, network_id */
	STORE_AUDIT_TRIM,   /* how many of the newest to keep */
	STORE_POLICY_PUT,   /* version, text, applied_at, applied_by */
	STORE_POLICY_TRIM,  /* how many of the newest to keep */
	STORE_META_PUT,     /* key, value; in the place of another */
	STORE_META_NEW,     /* key, value */
	STORE_META_DEL,     /* key */
	STORE_META_END,     /* key; of one that is there */
	STORE_INSTANCE_PUT, /* id, urls, pin, seen_at; in the place of another */
	STORE_INSTANCE_DEL, /* seen_at: those before */
	STORE_USER_PUT,     /* name, password, roles, created_at, last_login */
	STORE_USER_PASSWORD, /* name, password; of one that is there */
	STORE_USER_ROLES,   /* name, roles, roles before: where they are still these */
	STORE_USER_LOGIN,   /* name, last_login */
	STORE_USER_DEL,     /* name */
	STORE_TOKEN_PUT,    /* id, hash, session, user_name, label, limits, scopes, created_at,
			       expires_at, used_at */
	STORE_TOKEN_USED,   /* id, used_at */
	STORE_TOKEN_DEL,    /* id */
	STORE_TOKEN_SPEND,  /* id; of one that is there */
	STORE_RELAY_PUT,    /* id, region, url, public_key, stun, created_at */
	STORE_RELAY_DEL,    /* id */
	STORE_DEVICE_PUT,   /* id, network_id, via, name, public_key, address4, address6, created_at */
	STORE_DEVICE_DEL,   /* id */
	STORE_BULLETIN_DEL, /* at: those before */
	STORE_WRITES,
};

/* Tables, with the columns above in the same order. */
enum store_read {
	STORE_NETWORKS, /* id, name, cidr, cidr6, created_at, approve */
	STORE_AGENTS,   /* id, public_key, created_at, capabilities, endpoints, last_seen, online,
			   tokens_from, home, home_since */
	STORE_MEMBERS,  /* as above, and: expired, expires_at */
	STORE_ROUTES,
	STORE_KEYS,
	STORE_RETIRED,
	STORE_AUDIT, /* the newest `limit`, oldest first */
	STORE_POLICIES, /* the newest `limit`: version, text, applied_at, applied_by */
	STORE_META,
	STORE_INSTANCES,
	STORE_USERS,
	STORE_TOKENS,
	STORE_RELAYS,
	STORE_DEVICES,
	/* Of one; the limit is ignored. */
	STORE_AGENT_OF, STORE_MEMBERS_OF, STORE_ROUTES_OF, STORE_KEY_OF, STORE_NETWORK_OF, STORE_USER_OF,
	STORE_TOKEN_OF, STORE_DEVICE_OF,
	STORE_BULLETINS,     /* id, text, id of the oldest that is kept; in order, those after `limit`, some */
	STORE_LAST_BULLETIN, /* id, or 0 */
	STORE_READS,
};

/* What a bulletin names: what a commit has changed, for other coordinators on the same database. Its text
 * is JSON: {"from": store_instance of who committed, NAME: {ID: true}, .., "audit": [[the row], ..],
 * "retired": [[the row], ..]}. */
enum store_about {
	ABOUT_NOTHING,
	ABOUT_NETWORK,
	ABOUT_USER,
	ABOUT_TOKEN,
	ABOUT_RELAYS,
	ABOUT_POLICY,
	ABOUT_META, /* a policy that waits no more was confirmed, or not */
	ABOUT_KEY,
	ABOUT_AGENT,
	ABOUT_DEVICE,
	ABOUTS,
};
extern const char *const store_about_names[ABOUTS];
enum store_about store_about(enum store_write what);

struct store;
struct store_wait { /* embedded in its owner; all-zero: not waiting */
	struct list node;
	loop_timer_fn *fn;
	void *arg;
	unsigned group;
	bool refused; /* when fn is called: what was written before it in its group is not there */
};

/* `url` is sqlite:PATH or postgres://USER@HOST/DATABASE. NULL and a sentence in error; *away: it is a server that
 * does not answer. */
struct store *store_open(struct loop *loop, const char *url, bool *away, char *error, size_t size);
/* Of a URL that could be opened: without password and parameters, for the log. */
void store_url_shown(char *out, size_t size, const char *url);
void store_close(struct store *store); /* commits what is queued; waiters are forgotten */

typedef void store_row_fn(void *arg, const struct store_value *row);
/* At the start: waits for the database. */
int store_read(struct store *store, enum store_read what, int64_t limit, store_row_fn *fn, void *arg);
/* Without waiting: the rows come in a later wake, before those who wait from now on are called; then
 * done (also, with 0, when the store is closed before). `id` is for those of one, else NULL. */
typedef void store_done_fn(void *arg, uint64_t batch);
void store_fetch(struct store *store, enum store_read what, const char *id, int64_t limit,
		 store_row_fn *fn, store_done_fn *done, void *arg);

void store_begin(struct store *store); /* what is written from now on stands or falls together */
void store_write(struct store *store, enum store_write what, const struct store_value *values);
void store_wait(struct store *store, struct store_wait *wait, loop_timer_fn *fn, void *arg);
void store_wait_cancel(struct store_wait *wait); /* what was written stays written */
size_t store_queued(const struct store *store);  /* statements that are not committed yet */
const struct histogram *store_commits(const struct store *store); /* seconds each took */
bool store_behind(const struct store *store);    /* take no more work for now */
/* Of what is being filled: what is written under one number is committed at once. Rows that were
 * fetched have what was written up to, and with, the number that done is given. */
uint64_t store_batch(const struct store *store);
/* What was written under this number, or a later one, is not on the disk yet. */
uint64_t store_oldest(const struct store *store);

/* This process, to others on the same database; "": it can have no others. */
const char *store_instance(const struct store *store);
/* At the start: commits what is queued and waits for it. What is refused is dropped without a word: look
 * what is there instead. 0 or -EIO. */
int store_settle(struct store *store);
/* While fetched rows are given: has something been written about it (id NULL: any) since they were
 * read? */
bool store_pending(const struct store *store, enum store_about about, const char *id);

/* Called on the loop for each write of a refused group, before its waiters. */
typedef void store_refused_fn(void *arg, enum store_write what, const struct store_value *values);
void store_on_refused(struct store *store, store_refused_fn *fn, void *arg);

struct store_value store_int(int64_t number);
struct store_value store_text(const char *text); /* NULL: null */
struct store_value store_blob(const void *data, size_t len);
const char *store_string(const struct store_value *value); /* "" for null */

bool store_url_ok(const char *url, const char **why); /* can this build open it? */

#endif
