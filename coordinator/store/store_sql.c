/*
 * store_sql.c - schema and statements, once for both databases. They are written in SQLite's words;
 * PostgreSQL gets them through the short table in sql_for_postgres, so stay with what both know:
 * INTEGER, TEXT, BLOB, ?1, and ON CONFLICT with its columns named.
 */
#include "store_driver.h"
#include "lib/buf.h"
#include "lib/str.h"

#include <errno.h>
#include <string.h>

/* Each entry takes the schema one version further; entries are never changed, only added. */
const char *const sql_migrations[] = {
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, cidr TEXT NOT NULL,"
	" cidr6 TEXT, created_at INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE agents (id TEXT PRIMARY KEY, public_key BLOB NOT NULL UNIQUE,"
	" created_at INTEGER NOT NULL, expired INTEGER NOT NULL, ephemeral INTEGER NOT NULL,"
	" capabilities TEXT, endpoints TEXT, last_seen INTEGER NOT NULL DEFAULT 0,"
	" online INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
	"CREATE TABLE agent_networks (agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,"
	" network_id TEXT NOT NULL REFERENCES networks(id), name TEXT NOT NULL, address4 TEXT,"
	" address6 TEXT, tags TEXT NOT NULL, key_id TEXT, joined_at INTEGER NOT NULL,"
	" PRIMARY KEY (agent_id, network_id), UNIQUE (network_id, name),"
	" UNIQUE (network_id, address4), UNIQUE (network_id, address6)) WITHOUT ROWID;"
	"CREATE TABLE routes (agent_id TEXT NOT NULL, network_id TEXT NOT NULL, prefix TEXT NOT NULL,"
	" approved INTEGER NOT NULL, PRIMARY KEY (agent_id, network_id, prefix),"
	" FOREIGN KEY (agent_id, network_id) REFERENCES agent_networks ON DELETE CASCADE) WITHOUT ROWID;"
	"CREATE TABLE policies (version INTEGER PRIMARY KEY, text TEXT NOT NULL,"
	" applied_at INTEGER NOT NULL, applied_by TEXT NOT NULL);"
	"CREATE TABLE keys (id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE,"
	" network_id TEXT NOT NULL REFERENCES networks(id) ON DELETE CASCADE, reusable INTEGER NOT NULL,"
	" ephemeral INTEGER NOT NULL, name TEXT, tags TEXT NOT NULL, created_at INTEGER NOT NULL,"
	" expires_at INTEGER, used_at INTEGER, used_by TEXT, revoked_at INTEGER) WITHOUT ROWID;"
	"CREATE TABLE retired_addresses (network_id TEXT NOT NULL REFERENCES networks(id)"
	" ON DELETE CASCADE, address TEXT NOT NULL, until INTEGER NOT NULL,"
	" PRIMARY KEY (network_id, address)) WITHOUT ROWID;"
	"CREATE TABLE audit (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL,"
	" action TEXT NOT NULL, subject TEXT, detail TEXT);",
	"ALTER TABLE agents ADD COLUMN tokens_from INTEGER NOT NULL DEFAULT 0;",
	/* Several coordinators: who has an agent's stream, who there is. */
	"ALTER TABLE agents ADD COLUMN home TEXT;"
	"ALTER TABLE agents ADD COLUMN home_since INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE instances (id TEXT PRIMARY KEY, urls TEXT NOT NULL, pin TEXT,"
	" seen_at INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE bulletins (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, text TEXT NOT NULL);",
	/* Who administers, and approval of agents. */
	"CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT, roles TEXT NOT NULL,"
	" created_at INTEGER NOT NULL, last_login INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE tokens (id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, session INTEGER NOT NULL,"
	" user_name TEXT REFERENCES users(name) ON DELETE CASCADE, label TEXT NOT NULL, limits TEXT,"
	" scopes TEXT, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,"
	" used_at INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE relays (id TEXT PRIMARY KEY, region TEXT NOT NULL, url TEXT, public_key TEXT,"
	" stun TEXT NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID;"
	"ALTER TABLE networks ADD COLUMN approve INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE agents ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE agent_networks ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE audit ADD COLUMN network_id TEXT;",
	/* Agentless peers. */
	"CREATE TABLE devices (id TEXT PRIMARY KEY, network_id TEXT NOT NULL REFERENCES networks(id),"
	" via TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE, name TEXT NOT NULL,"
	" public_key BLOB NOT NULL UNIQUE, address4 TEXT, address6 TEXT, created_at INTEGER NOT NULL,"
	" UNIQUE (network_id, name), UNIQUE (network_id, address4),"
	" UNIQUE (network_id, address6)) WITHOUT ROWID;",
	/* Organisations that know nothing of each other: a device's key is its network's matter, and so is
	 * whether an agent has expired or is ephemeral (the columns of agents are read no more). And who
	 * made a join key. */
	"CREATE TABLE devices_of_networks (id TEXT PRIMARY KEY,"
	" network_id TEXT NOT NULL REFERENCES networks(id),"
	" via TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE, name TEXT NOT NULL,"
	" public_key BLOB NOT NULL, address4 TEXT, address6 TEXT, created_at INTEGER NOT NULL,"
	" UNIQUE (network_id, public_key), UNIQUE (network_id, name), UNIQUE (network_id, address4),"
	" UNIQUE (network_id, address6)) WITHOUT ROWID;"
	"INSERT INTO devices_of_networks SELECT id,network_id,via,name,public_key,address4,address6,"
	"created_at FROM devices;"
	"DROP TABLE devices;"
	"ALTER TABLE devices_of_networks RENAME TO devices;"
	"ALTER TABLE agent_networks ADD COLUMN ephemeral INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE agent_networks ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE agent_networks ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;"
	"UPDATE agent_networks SET ephemeral=(SELECT a.ephemeral FROM agents AS a WHERE a.id=agent_id),"
	"expired=(SELECT a.expired FROM agents AS a WHERE a.id=agent_id),"
	"expires_at=(SELECT a.expires_at FROM agents AS a WHERE a.id=agent_id);"
	"ALTER TABLE keys ADD COLUMN maker TEXT;",
};
const int sql_version = (int)ARRAY_SIZE(sql_migrations);

#define BY_ADMIN "(1,2)" /* routes.approved: yes or no, said by an administrator (route_word) */

const struct sql_write sql_writes[STORE_WRITES] = {
	[STORE_NETWORK_PUT] = {6, false, "INSERT INTO networks (id,name,cidr,cidr6,created_at,approve) "
					 "VALUES (?1,?2,?3,?4,?5,?6)"},
	[STORE_NETWORK_SET] = {2, true, "UPDATE networks SET approve=?2 WHERE id=?1"},
	[STORE_NETWORK_DEL] = {1, false, "DELETE FROM networks WHERE id=?1"},
	[STORE_AGENT_PUT] = {5, false, "INSERT INTO agents (id,public_key,created_at,expired,ephemeral,"
				       "capabilities,tokens_from) VALUES (?1,?2,?3,0,0,?4,?5)"},
	[STORE_AGENT_SET] = {2, true, "UPDATE agents SET capabilities=?2 WHERE id=?1"},
	[STORE_AGENT_KEY] = {2, true, "UPDATE agents SET public_key=?2 WHERE id=?1 AND EXISTS (SELECT 1 FROM "
				      "agent_networks WHERE agent_id=?1 AND expired=0) AND NOT EXISTS (SELECT 1 "
				      "FROM devices AS d,agent_networks AS m WHERE m.agent_id=?1 AND "
				      "d.network_id=m.network_id AND d.public_key=?2)"},
	[STORE_AGENT_TOKENS] = {2, true, "UPDATE agents SET tokens_from=?2 WHERE id=?1"},
	/* After STORE_AGENT_SET, which has locked the row: what another has committed is seen. */
	[STORE_AGENT_ALONE] = {2, true, "UPDATE agents SET id=?1 WHERE id=?1 AND NOT EXISTS (SELECT 1 FROM "
					"agent_networks WHERE agent_id=?1 AND ?2 NOT LIKE '%' || network_id || '%')"},
	[STORE_AGENT_SEEN] = {6, false, "UPDATE agents SET endpoints=?2,last_seen=?3,online=?4,home=?5,"
					"home_since=?6 WHERE id=?1 AND home_since<=?6"},
	[STORE_AGENT_DEL] = {1, false, "DELETE FROM agents WHERE id=?1"},
	[STORE_MEMBER_PUT] = {10, true, "INSERT INTO agent_networks (agent_id,network_id,name,address4,"
					"address6,tags,key_id,joined_at,pending,ephemeral) "
					"SELECT ?1,?2,?3,?4,?5,?6,?7,?8,?9,?10 WHERE NOT EXISTS (SELECT 1 FROM "
					"devices WHERE network_id=?2 AND (name=?3 OR address4=?4 OR address6=?5 "
					"OR public_key=(SELECT public_key FROM agents WHERE id=?1)))"},
	[STORE_MEMBER_NAME] = {3, true, "UPDATE agent_networks SET name=?3 WHERE agent_id=?1 AND network_id=?2 "
					"AND NOT EXISTS (SELECT 1 FROM devices WHERE network_id=?2 AND "
					"name=?3)"},
	[STORE_MEMBER_TAGS] = {3, true, "UPDATE agent_networks SET tags=?3 WHERE agent_id=?1 AND network_id=?2"},
	[STORE_MEMBER_KEY] = {4, true, "UPDATE agent_networks SET tags=?3,key_id=?4 WHERE agent_id=?1 AND "
				       "network_id=?2"},
	[STORE_MEMBER_AGAIN] = {3, true, "UPDATE agent_networks SET ephemeral=ephemeral*?3 WHERE agent_id=?1 AND "
					 "network_id=?2"},
	[STORE_MEMBER_APPROVE] = {2, true, "UPDATE agent_networks SET pending=0 WHERE agent_id=?1 AND "
					   "network_id=?2"},
	[STORE_MEMBER_EXPIRE] = {2, true, "UPDATE agent_networks SET expired=1 WHERE agent_id=?1 AND "
					  "network_id=?2"},
	[STORE_MEMBER_RETURN] = {2, true, "UPDATE agent_networks SET expired=0,expires_at=0 WHERE agent_id=?1 "
					  "AND network_id=?2"},
	[STORE_MEMBER_EXPIRY] = {3, true, "UPDATE agent_networks SET expires_at=?3 WHERE agent_id=?1 AND "
					  "network_id=?2"},
	[STORE_MEMBER_DEL] = {2, false, "DELETE FROM agent_networks WHERE agent_id=?1 AND network_id=?2"},
	[STORE_ROUTE_PUT] = {4, false, "INSERT INTO routes (agent_id,network_id,prefix,approved) "
				       "VALUES (?1,?2,?3,?4) "
				       "ON CONFLICT (agent_id,network_id,prefix) DO UPDATE SET approved=?4 "
				       "WHERE routes.approved NOT IN " BY_ADMIN},
	[STORE_ROUTE_JUDGE] = {4, false, "UPDATE routes SET approved=?4 WHERE agent_id=?1 AND network_id=?2 AND "
					 "prefix=?3 AND approved NOT IN " BY_ADMIN},
	[STORE_ROUTE_SET] = {4, true, "UPDATE routes SET approved=?4 WHERE agent_id=?1 AND network_id=?2 AND "
				      "prefix=?3"},
	[STORE_ROUTES_KEEP] = {3, false, "DELETE FROM routes WHERE agent_id=?1 AND network_id=?2 AND "
					 "?3 NOT LIKE '% ' || prefix || ' %'"},
	[STORE_KEY_PUT] = {13, false, "INSERT INTO keys (id,hash,network_id,reusable,ephemeral,name,tags,"
				      "created_at,expires_at,used_at,used_by,revoked_at,maker) "
				      "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)"},
	/* Of several coordinators that take a one-shot key at once, one changes the row. */
	[STORE_KEY_USE] = {3, true, "UPDATE keys SET used_at=?2,used_by=?3 WHERE id=?1 AND "
				    "COALESCE(revoked_at,0)=0 AND "
				    "(reusable<>0 OR COALESCE(used_at,0)=0 OR used_by=?3)"},
	[STORE_KEY_REVOKE] = {2, true, "UPDATE keys SET revoked_at=?2 WHERE id=?1"},
	[STORE_RETIRED_PUT] = {3, false, "INSERT INTO retired_addresses (network_id,address,until) "
					 "VALUES (?1,?2,?3) "
					 "ON CONFLICT (network_id,address) DO UPDATE SET until=?3"},
	[STORE_RETIRED_DEL] = {1, false, "DELETE FROM retired_addresses WHERE until<?1"},
	[STORE_AUDIT_PUT] = {6, false, "INSERT INTO audit (at,actor,action,subject,detail,network_id) "
				       "VALUES (?1,?2,?3,?4,?5,?6)"},
	[STORE_AUDIT_TRIM] = {1, false, "DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?1"},
	[STORE_POLICY_PUT] = {4, false, "INSERT INTO policies (version,text,applied_at,applied_by) "
					"VALUES (?1,?2,?3,?4)"},
	[STORE_POLICY_TRIM] = {1, false, "DELETE FROM policies WHERE version <= "
					 "(SELECT max(version) FROM policies) - ?1"},
	[STORE_META_PUT] = {2, false, "INSERT INTO meta (key,value) VALUES (?1,?2) "
				      "ON CONFLICT (key) DO UPDATE SET value=?2"},
	[STORE_META_NEW] = {2, false, "INSERT INTO meta (key,value) VALUES (?1,?2)"},
	[STORE_META_DEL] = {1, false, "DELETE FROM meta WHERE key=?1"},
	[STORE_META_END] = {1, true, "DELETE FROM meta WHERE key=?1"},
	[STORE_INSTANCE_PUT] = {4, false, "INSERT INTO instances (id,urls,pin,seen_at) VALUES (?1,?2,?3,?4) "
					  "ON CONFLICT (id) DO UPDATE SET urls=?2,pin=?3,seen_at=?4"},
	[STORE_INSTANCE_DEL] = {1, false, "DELETE FROM instances WHERE seen_at<?1"},
	[STORE_USER_PUT] = {5, false, "INSERT INTO users (name,password,roles,created_at,last_login) "
				      "VALUES (?1,?2,?3,?4,?5)"},
	[STORE_USER_PASSWORD] = {2, true, "UPDATE users SET password=?2 WHERE name=?1"},
	[STORE_USER_ROLES] = {3, true, "UPDATE users SET roles=?2 WHERE name=?1 AND roles=?3"},
	[STORE_USER_LOGIN] = {2, false, "UPDATE users SET last_login=?2 WHERE name=?1"},
	[STORE_USER_DEL] = {1, false, "DELETE FROM users WHERE name=?1"},
	[STORE_TOKEN_PUT] = {10, false, "INSERT INTO tokens (id,hash,session,user_name,label,limits,scopes,"
					"created_at,expires_at,used_at) "
					"VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)"},
	[STORE_TOKEN_USED] = {2, false, "UPDATE tokens SET used_at=?2 WHERE id=?1"},
	[STORE_TOKEN_DEL] = {1, false, "DELETE FROM tokens WHERE id=?1"},
	[STORE_TOKEN_SPEND] = {1, true, "DELETE FROM tokens WHERE id=?1"},
	[STORE_RELAY_PUT] = {6, false, "INSERT INTO relays (id,region,url,public_key,stun,created_at) "
				       "VALUES (?1,?2,?3,?4,?5,?6)"},
	[STORE_RELAY_DEL] = {1, false, "DELETE FROM relays WHERE id=?1"},
	[STORE_DEVICE_PUT] = {8, true, "INSERT INTO devices (id,network_id,via,name,public_key,address4,"
				       "address6,created_at) SELECT ?1,?2,?3,?4,?5,?6,?7,?8 WHERE NOT EXISTS "
				       "(SELECT 1 FROM agent_networks AS m,agents AS a WHERE m.network_id=?2 AND "
				       "a.id=m.agent_id AND (m.name=?4 OR m.address4=?6 OR m.address6=?7 OR "
				       "a.public_key=?5))"},
	[STORE_DEVICE_DEL] = {1, false, "DELETE FROM devices WHERE id=?1"},
	[STORE_BULLETIN_DEL] = {1, false, "DELETE FROM bulletins WHERE at<?1"},
};

#define AGENT  "id,public_key,created_at,capabilities,endpoints,last_seen,online,tokens_from,home,home_since"
#define MEMBER "agent_id,network_id,name,address4,address6,tags,key_id,joined_at,pending,ephemeral,expired," \
	       "expires_at"
#define ROUTE  "agent_id,network_id,prefix,approved"
#define KEY    "id,hash,network_id,reusable,ephemeral,name,tags,created_at,expires_at,used_at,used_by," \
	       "revoked_at,maker"

#define NETWORK "id,name,cidr,cidr6,created_at,approve"
#define USER    "name,password,roles,created_at,last_login"
#define TOKEN   "id,hash,session,user_name,label,limits,scopes,created_at,expires_at,used_at"
#define DEVICE  "id,network_id,via,name,public_key,address4,address6,created_at"

const char *const sql_reads[STORE_READS] = {
	[STORE_NETWORKS] = "SELECT " NETWORK " FROM networks LIMIT ?1",
	[STORE_AGENTS] = "SELECT " AGENT " FROM agents LIMIT ?1",
	[STORE_MEMBERS] = "SELECT " MEMBER " FROM agent_networks LIMIT ?1",
	[STORE_ROUTES] = "SELECT " ROUTE " FROM routes LIMIT ?1",
	[STORE_KEYS] = "SELECT " KEY " FROM keys LIMIT ?1",
	[STORE_RETIRED] = "SELECT network_id,address,until FROM retired_addresses LIMIT ?1",
	[STORE_AUDIT] = "SELECT at,actor,action,subject,detail,network_id FROM (SELECT * FROM audit "
			"ORDER BY id DESC LIMIT ?1) AS newest ORDER BY id",
	[STORE_POLICIES] = "SELECT version,text,applied_at,applied_by FROM policies "
			   "ORDER BY version DESC LIMIT ?1",
	[STORE_META] = "SELECT key,value FROM meta LIMIT ?1",
	[STORE_INSTANCES] = "SELECT id,urls,pin,seen_at FROM instances LIMIT ?1",
	[STORE_USERS] = "SELECT " USER " FROM users ORDER BY name LIMIT ?1",
	[STORE_TOKENS] = "SELECT " TOKEN " FROM tokens ORDER BY created_at,id LIMIT ?1",
	[STORE_RELAYS] = "SELECT id,region,url,public_key,stun,created_at FROM relays "
			 "ORDER BY region,id LIMIT ?1",
	[STORE_DEVICES] = "SELECT " DEVICE " FROM devices LIMIT ?1",
	[STORE_AGENT_OF] = "SELECT " AGENT " FROM agents WHERE id=?1",
	[STORE_MEMBERS_OF] = "SELECT " MEMBER " FROM agent_networks WHERE agent_id=?1",
	[STORE_ROUTES_OF] = "SELECT " ROUTE " FROM routes WHERE agent_id=?1",
	[STORE_KEY_OF] = "SELECT " KEY " FROM keys WHERE id=?1",
	[STORE_NETWORK_OF] = "SELECT " NETWORK " FROM networks WHERE id=?1",
	[STORE_USER_OF] = "SELECT " USER " FROM users WHERE name=?1",
	[STORE_TOKEN_OF] = "SELECT " TOKEN " FROM tokens WHERE id=?1",
	[STORE_DEVICE_OF] = "SELECT " DEVICE " FROM devices WHERE id=?1",
	[STORE_BULLETINS] = "SELECT id,text,(SELECT min(id) FROM bulletins) FROM bulletins WHERE id>?1 "
			    "ORDER BY id LIMIT 200",
	[STORE_LAST_BULLETIN] = "SELECT COALESCE(max(id),0) FROM bulletins LIMIT ?1",
};

/* A new table belongs in here too, unless it is only of today (instances, bulletins). */
const struct sql_table sql_tables[] = {
	{"meta", false},   {"networks", false}, {"agents", false}, {"agent_networks", false},
	{"routes", false}, {"policies", false}, {"keys", false},   {"retired_addresses", false},
	{"audit", true},   {"users", false},    {"tokens", false}, {"relays", false},
	{"devices", false},
};
const size_t sql_table_count = ARRAY_SIZE(sql_tables);

char *sql_insert(const char *table, const char *const *columns, unsigned count)
{
	struct buf out;
	char *text;

	buf_init(&out, 0);
	buf_addf(&out, "INSERT INTO %s (", table);
	for (unsigned i = 0; i < count; i++)
		buf_addf(&out, "%s%s", i ? "," : "", columns[i]);
	buf_puts(&out, ") VALUES (");
	for (unsigned i = 0; i < count; i++)
		buf_addf(&out, "%s?%u", i ? "," : "", i + 1);
	buf_puts(&out, ")");
	text = xstrdup(buf_text(&out));
	buf_free(&out);
	return text;
}

char *sql_for_postgres(const char *sql)
{
	static const struct {
		const char *ours, *theirs;
	} words[] = {
		{" WITHOUT ROWID", ""},
		{"id INTEGER PRIMARY KEY", "id BIGSERIAL PRIMARY KEY"},
		{"INTEGER", "BIGINT"},
		{"BLOB", "BYTEA"},
		{"?", "$"},
	};
	struct buf out;
	char *text;
	size_t i;

	buf_init(&out, 0);
	while (*sql) {
		for (i = 0; i < ARRAY_SIZE(words) && !str_has_prefix(sql, words[i].ours); i++)
			;
		if (i < ARRAY_SIZE(words)) {
			buf_puts(&out, words[i].theirs);
			sql += strlen(words[i].ours);
		} else {
			buf_add(&out, sql++, 1);
		}
	}
	text = xstrdup(buf_text(&out));
	buf_free(&out);
	return text;
}

/* ---- committing ------------------------------------------------------------------------------ */

/* The ops of one group, in a savepoint: all of them or none. */
static int commit_group(const struct sql_steps *steps, struct store_backend *backend, struct list *ops,
			unsigned group)
{
	struct store_op *op;
	int result = steps->run(backend, "SAVEPOINT one");

	list_each(op, ops, node)
		if (!result && op->group == group)
			result = steps->one(backend, op);
	if (result != -EEXIST)
		return result ? result : steps->run(backend, "RELEASE SAVEPOINT one");
	list_each(op, ops, node)
		if (op->group == group)
			op->refused = true;
	return steps->run(backend, "ROLLBACK TO SAVEPOINT one");
}

static int commit_by_group(const struct sql_steps *steps, struct store_backend *backend, struct list *ops)
{
	struct store_op *op;
	unsigned last = 0;
	int result = steps->run(backend, "BEGIN");

	/* Groups come one after the other. */
	list_each(op, ops, node) {
		if (result || op->group == last)
			continue;
		last = op->group;
		result = commit_group(steps, backend, ops, last);
	}
	return result ? result : steps->run(backend, "COMMIT");
}

int sql_commit(const struct sql_steps *steps, struct store_backend *backend, struct list *ops)
{
	struct store_op *op;
	int result;

	list_each(op, ops, node)
		op->refused = false;
	result = steps->all(backend, ops);
	if (!result)
		result = steps->run(backend, "COMMIT");
	if (result == -EEXIST && !steps->run(backend, "ROLLBACK"))
		result = commit_by_group(steps, backend, ops);
	if (result)
		steps->run(backend, "ROLLBACK");
	return result;
}
