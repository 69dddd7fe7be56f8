/*
 * start.c - directories, keys, certificate, database, mesh, doors; in that order, and undone in
 * reverse. What is made on the first start: a server key, a certificate, the token secret, the
 * network `default`, one join link and one link to the dashboard.
 */
#include "start.h"
#include "args.h"
#include "backup.h"
#include "coordinator/admin/admin.h"
#include "coordinator/api/api.h"
#include "coordinator/access/challenge.h"
#include "coordinator/cluster/cluster.h"
#include "embedded.h"
#include "coordinator/sync/events.h"
#include "firstlink.h"
#include "lock.h"
#include "coordinator/cluster/heal.h"
#include "identity.h"
#include "coordinator/access/login.h"
#include "coordinator/access/password.h"
#include "coordinator/enforce/policy_file.h"
#include "coordinator/enforce/policy_state.h"
#include "coordinator/mesh/registry.h"
#include "coordinator/mesh/relays.h"
#include "coordinator/api/server.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/sync.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/tls.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SWEEP_MS       (60 * 60 * 1000ull)
#define LEAD_MS        30000             /* how soon who leads is asked for again */
#define SAVE_MS        2000
#define SAVE_MORE_MS   250               /* where that was not all */
#define SAVE_AT_ONCE   500               /* agents: what takes no noticeable time */
#define REFUSALS       100               /* a second */
#define RESTART_MS     60000             /* who was online before a restart has this long to be back */
#define AUDIT_KEEP     100000
#define OWN_DESCRIPTORS 128

/* ---- files ---------------------------------------------------------------------------- */

/* Whoever may write there can replace the keys. A user of one's own, or a group, may be meant. */
static int judge_state(const char *path, char *error, size_t size)
{
	struct stat st = {0};
	char mode[16];

	if (!stat(path, &st) && st.st_mode & S_IWOTH) {
		snprintf(error, size, "anybody may write to the state directory %s, and so replace its keys: chmod 0700 it, "
			 "and look whether they are the right ones", path);
		return 1;
	}
	snprintf(mode, sizeof(mode), "%04o", st.st_mode & 07777);
	if (st.st_mode & S_IWGRP || (st.st_uid && st.st_uid != geteuid()))
		log_warn("state-directory", "path=%s mode=%s uid=%u reason=\"others than root and this program may replace "
			 "the keys in it: chown and chmod 0700 it\"", path, mode, (unsigned)st.st_uid);
	return 0;
}

static int make_dirs(const struct config *config, char *error, size_t size)
{
	const char *dirs[] = {config->state, config->run_dir};
	const mode_t modes[] = {0700, 0755};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		int result = file_make_dirs(dirs[i], modes[i]);

		if (result < 0) {
			snprintf(error, size, "cannot make the directory %s: %s; move it with %s", dirs[i],
				 strerror(-result), i ? "--run-dir" : "--state");
			return 1;
		}
	}
	return judge_state(config->state, error, size);
}

/* ---- database --------------------------------------------------------------------------- */

struct meta {
	uint8_t secret[TOKEN_SECRET_LEN];
	struct key server;
	bool has_secret, has_server, initialised, restored;
	char by[INSTANCE_ID_MAX]; /* who has made the first start */
};

static void read_meta(void *arg, const struct store_value *row)
{
	struct meta *meta = arg;
	const char *key = store_string(&row[0]);

	if (!strcmp(key, "token_secret") && row[1].len == TOKEN_SECRET_LEN) {
		memcpy(meta->secret, row[1].data, TOKEN_SECRET_LEN);
		meta->has_secret = true;
	} else if (!strcmp(key, "server_public")) {
		meta->has_server = mesh_row_public_key(&row[1], &meta->server);
	} else if (!strcmp(key, "restored")) {
		meta->restored = true; /* until the next start */
	} else if (!strcmp(key, "initialised")) {
		meta->initialised = true;
		if (row[1].len < sizeof(meta->by))
			memcpy(meta->by, row[1].data, row[1].len);
	}
}

/* Of several coordinators that start at once, one writes it. */
static void write_new(struct coordinator *co, const char *key, const void *data, size_t len)
{
	store_write(co->store, STORE_META_NEW,
		    (struct store_value[]){store_text(key), store_blob(data, len)});
}

static int cannot_read(char *error, size_t size)
{
	snprintf(error, size, "cannot read the database: restore it from a backup");
	return 1;
}

/* All coordinators on one database are one to the agents: the same token secret, and, where there can be
 * several, the same server key. */
static int take_identity(struct coordinator *co, struct meta *meta, char *error, size_t size)
{
	uint8_t random[TOKEN_SECRET_LEN];

	if (store_read(co->store, STORE_META, 100, read_meta, meta) < 0)
		return cannot_read(error, size);
	if (restore_missing_keys(&co->config, meta->restored, error, size) ||
	    identity_confirm(co, meta->has_server ? &meta->server : NULL, error, size))
		return 1;
	if (!meta->has_secret) {
		random_bytes(random, sizeof(random));
		store_begin(co->store);
		write_new(co, "token_secret", random, sizeof(random));
		secret_wipe(random, sizeof(random));
	}
	if (!meta->has_server || !key_equal(&meta->server, &co->public_key)) {
		store_begin(co->store);
		store_write(co->store, co->cluster ? STORE_META_NEW : STORE_META_PUT,
			    (struct store_value[]){store_text("server_public"),
						   store_blob(co->public_key.bytes, KEY_LEN)});
	}
	if (store_settle(co->store) < 0 || store_read(co->store, STORE_META, 100, read_meta, meta) < 0)
		return cannot_read(error, size);
	memcpy(co->token_secret, meta->secret, sizeof(meta->secret));
	secret_wipe(&meta->secret, sizeof(meta->secret));
	return identity_confirm(co, &meta->server, error, size); /* another may have been quicker */
}

static int load_mesh(struct coordinator *co)
{
	return mesh_load(&co->mesh, co->store, clock_wall_ms());
}

/* What is made here is there as a whole or, where another was quicker, not at all. It comes last, when
 * nothing can go wrong any more: the links are shown only once. */
static int first_start(struct coordinator *co)
{
	const char *self = co->cluster ? store_instance(co->store) : "1";
	struct meta meta = {0};

	store_begin(co->store);
	write_new(co, "initialised", self, strlen(self));
	firstlink_make(co);
	if (!co->cluster)
		return 0;
	if (store_settle(co->store) < 0 || store_read(co->store, STORE_META, 100, read_meta, &meta) < 0)
		return -EIO;
	secret_wipe(&meta.secret, sizeof(meta.secret));
	if (!strcmp(meta.by, self))
		return 0;
	mesh_fini(&co->mesh);
	mesh_init(&co->mesh);
	users_fini(&co->users);
	users_init(&co->users);
	if (load_mesh(co) < 0 || users_load(co) < 0)
		return -EIO;
	policy_place_all(co);
	return 0;
}

static int open_store(struct coordinator *co, bool *initialised, char *error, size_t size)
{
	struct meta meta = {0};
	bool away;

	if (restore_missing_database(&co->config, error, size) || lock_database(&co->config, true, error, size))
		return 1;
	co->store = store_open(co->loop, co->config.db, &away, error, size);
	if (!co->store)
		return away ? EXIT_NOT_REACHABLE : EXIT_FAILED;
	co->cluster = cluster_new(co);
	if (take_identity(co, &meta, error, size))
		return 1;
	*initialised = meta.initialised;
	co->challenges = challenges_new(&co->private_key, store_instance(co->store));
	if (load_mesh(co) < 0 || users_load(co) < 0 || relays_load(co) < 0 || heal_check(co) < 0)
		return cannot_read(error, size);
	return identity_make_tls(co, error, size);
}

/* ---- what happens now and then ------------------------------------------------------------ */

static void sweep(void *arg)
{
	struct coordinator *co = arg;
	uint64_t now = clock_wall_ms();

	if (!cluster_leads(co->cluster)) { /* another does it, or none yet */
		timer_start(&co->sweep, LEAD_MS);
		return;
	}
	store_begin(co->store);
	store_write(co->store, STORE_BULLETIN_DEL,
		    (struct store_value[]){store_int((int64_t)(now - CLUSTER_KEEP_MS))});
	store_write(co->store, STORE_RETIRED_DEL, (struct store_value[]){store_int((int64_t)now)});
	access_sweep(co, now);
	store_write(co->store, STORE_AUDIT_TRIM, (struct store_value[]){store_int(AUDIT_KEEP)});
	timer_start(&co->sweep, SWEEP_MS);
}

static void save(void *arg)
{
	struct coordinator *co = arg;

	store_begin(co->store);
	if (!store_behind(co->store))
		registry_save_seen(co, SAVE_AT_ONCE);
	if (cluster_leads(co->cluster))
		registry_end_due(co, clock_wall_ms());
	api_note_left_out(co);
	timer_start(&co->save, list_empty(&co->unsaved) ? SAVE_MS : SAVE_MORE_MS);
}

static void await_return(struct coordinator *co)
{
	struct agent *agent;
	size_t pos = 0;

	while ((agent = map_next(co->mesh.agents, &pos, NULL)))
		if (agent->online)
			sync_leaving(co->sync, agent, RESTART_MS);
}

/* Strangers may not have the last descriptors: the administrator, the database and the relay need
 * some, so there are no more connections than leave them theirs. */
static void share_descriptors(struct config *config)
{
	struct rlimit limit;
	rlim_t room;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	room = limit.rlim_cur - MIN(limit.rlim_cur / 2, (rlim_t)OWN_DESCRIPTORS);
	if (room >= config->limits.connections)
		return;
	log_warn("connections", "limit=%llu wanted=%u reason=\"there are %llu file descriptors: raise "
		 "LimitNOFILE, or ulimit -n\"", (unsigned long long)room, config->limits.connections,
		 (unsigned long long)limit.rlim_cur);
	config->limits.connections = (unsigned)room;
}

/* ---- the whole ------------------------------------------------------------------------------ */

int coordinator_start(struct coordinator *co, char *error, size_t size)
{
	bool initialised;
	int result;

	list_init(&co->unsaved);
	mesh_init(&co->mesh);
	users_init(&co->users);
	list_init(&co->relays);
	timer_init(&co->sweep, co->loop, sweep, co);
	timer_init(&co->save, co->loop, save, co);
	bucket_init(&co->refusals, REFUSALS, 10 * REFUSALS, loop_now(co->loop));
	co->logins = logins_new();
	co->events = events_new(co);
	co->sync = sync_new(co);
	co->policy = policy_state_new(co);
	co->passwords = passwords_new(co->loop);
	if (!co->passwords) {
		snprintf(error, size, "cannot start a thread for passwords");
		return 1;
	}
	if (make_dirs(&co->config, error, size) || lock_state(&co->config, error, size))
		return 1;
	result = identity_load(co, error, size);
	if (result)
		return result;
	result = open_store(co, &initialised, error, size);
	if (result)
		return result;
	result = policy_state_start(co->policy, error, size);
	if (result)
		return result;
	co->admin = admin_new(co, error, size);
	if (!co->admin)
		return 1;
	co->server = server_new(co, error, size);
	if (!co->server)
		return 1;
	server_address(co->server, &co->listening);
	config_take_port(&co->config, co->listening.port);
	if (!initialised && first_start(co) < 0)
		return cannot_read(error, size);
	if (co->config.url_private)
		log_warn("public-url", "url=%s reason=\"links and agents get this address, which is reached from "
			 "here only: say --public-url\"", co->config.urls[0]);
	share_descriptors(&co->config);
	if (co->config.relay_embedded)
		co->embedded = embedded_new(co);
	await_return(co);
	sweep(co);
	save(co);
	return 0;
}

void coordinator_stop(struct coordinator *co)
{
	timer_stop(&co->sweep);
	timer_stop(&co->save);
	embedded_free(co->embedded);
	server_free(co->server);
	free(co->openapi);
	admin_free(co->admin);
	passwords_free(co->passwords);
	if (co->store)
		registry_save_seen(co, UINT_MAX);
	cluster_free(co->cluster);
	sync_free(co->sync);
	store_wait_cancel(&co->generation_wait);
	store_wait_cancel(&co->taken_wait);
	events_free(co->events);
	logins_free(co->logins);
	users_fini(&co->users);
	relays_free(co);
	store_close(co->store);
	challenges_free(co->challenges);
	mesh_fini(&co->mesh);
	policy_state_free(co->policy);
	tls_server_free(co->tls);
	key_wipe(&co->private_key);
	secret_wipe(co->token_secret, sizeof(co->token_secret));
	secret_wipe(&co->readmission, sizeof(co->readmission));
}

int coordinator_check(const struct config *config, char *error, size_t size)
{
	if (identity_check(config, error, size))
		return 2;
	if ((!config->policy_optional || !access(config->policy, F_OK)) &&
	    policy_file_check(config->policy, error, size))
		return 2;
	return 0;
}
