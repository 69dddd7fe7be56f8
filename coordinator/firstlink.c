/*
 * firstlink.c - the network `default`, and its links. Where standard output is the journal, or systemd has
 * started us, it is a log: then the links go to a file.
 *
 * The dashboard's is of a user `admin`, made for it without a password: so lines of the audit name somebody,
 * and a password is all that is missing for the next time.
 */
#include "firstlink.h"
#include "coordinator/access/loginlink.h"
#include "coordinator/mesh/registry.h"
#include "coordinator/store/store.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIFETIME_MS (3600 * 1000ull)
#define MAX_LOCAL   256

#define ACTOR       "first start"
#define FIRST_USER  "admin"

struct first {
	struct store_wait wait;
	struct coordinator *co;
	char *links; /* a line each */
	char key[PROTO_ID_MAX], access[PROTO_ID_MAX];
};

/* JOURNAL_STREAM is "DEVICE:INODE" of what the journal gave (systemd.exec(5)). */
static bool stdout_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[64];
	struct stat st;

	if (!stream || fstat(STDOUT_FILENO, &st) < 0)
		return false;
	snprintf(ours, sizeof(ours), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	return !strcmp(stream, ours);
}

static bool is_service(void)
{
	const char *pid = getenv("SYSTEMD_EXEC_PID");
	uint64_t number;

	if (isatty(STDOUT_FILENO))
		return false;
	return stdout_is_journal() || (getenv("INVOCATION_ID") && getenv("NOTIFY_SOCKET")) ||
	       (pid && parse_u64(pid, &number) && number == (uint64_t)getpid());
}

static void show(void *arg)
{
	struct first *first = arg;
	char *path = xasprintf("%s/first-links", first->co->config.state);

	if (!map_get(first->co->mesh.keys, first->key) &&
	    !map_get(first->co->users.accesses, first->access)) {
		log_info("first-link", "reason=\"another coordinator on this database has made them\"");
	} else if (is_service()) {
		if (file_write_atomic(path, first->links, strlen(first->links), 0600) < 0)
			log_error("first-link", "file=%s reason=\"cannot be written; make links with "
				  "key create and user link " FIRST_USER "\"", path);
		else
			log_info("first-link", "file=%s reason=\"links for the next hour are in this file: to "
				 "join, and to the dashboard\"", path);
	} else {
		fputs(first->links, stdout);
		if (fflush(stdout))
			log_error("first-link", "reason=\"standard output does not take them; make links with key create "
				  "and user link " FIRST_USER "\"");
		clearerr(stdout); /* nothing else is printed there: it is no reason to end with 1 */
	}
	secret_wipe(first->links, strlen(first->links));
	free(first->links);
	free(path);
	free(first);
}

static struct network *make_default_network(struct coordinator *co)
{
	struct prefix local[MAX_LOCAL], cidr, cidr6;
	size_t count = ipam_local_prefixes(local, MAX_LOCAL);
	struct refusal why;
	uint8_t random[7];

	if (!ipam_choose(&cidr, local, count, random_below(1024))) {
		log_warn("no-default-network", "reason=\"every private range overlaps a route of this host; "
			 "make one with network create default --cidr CIDR\"");
		return NULL;
	}
	random_bytes(random, sizeof(random));
	ipam_choose_ula(&cidr6, random);
	return registry_network_create(co, "default", &cidr, &cidr6, ACTOR, &why);
}

static char *join_link(struct coordinator *co, struct network *network, struct first *first)
{
	const struct key_wish wish = {.network = network, .reusable = true,
				      .expires_at = clock_wall_ms() + LIFETIME_MS};
	char secret[SECRET_TEXT], *link;
	const struct join_key *key;
	struct refusal why;

	key = network ? registry_key_create(co, &wish, ACTOR, secret, &why) : NULL;
	if (!key)
		return NULL;
	str_copy(first->key, sizeof(first->key), key->id);
	link = coordinator_link(co, secret);
	secret_wipe(secret, sizeof(secret));
	return link;
}

static char *dashboard_link(struct coordinator *co, struct first *first)
{
	const struct access *access;
	struct user *user;
	char *link;

	if (!co->config.dashboard)
		return NULL;
	user = user_add(co, FIRST_USER);
	json_object_set_new(user->roles, EVERYWHERE, json_string(role_name(ROLE_ADMIN)));
	user->created_at = clock_wall_ms();
	user_write(co, user);
	registry_audit(co, ACTOR, "user-added", user->name, role_name(ROLE_ADMIN));
	access = loginlink_make(co, user, &link);
	registry_audit(co, ACTOR, "login-link-created", user->name, NULL);
	str_copy(first->access, sizeof(first->access), access->id);
	return link;
}

void firstlink_make(struct coordinator *co)
{
	struct first *first = xcalloc(1, sizeof(*first));
	char *links[] = {join_link(co, make_default_network(co), first), dashboard_link(co, first)};
	struct buf text;

	first->co = co;
	buf_init(&text, 0);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		if (!links[i])
			continue;
		buf_addf(&text, "%s\n", links[i]);
		secret_wipe(links[i], strlen(links[i]));
		free(links[i]);
	}
	if (text.len) {
		first->links = xstrdup(buf_text(&text));
		store_wait(co->store, &first->wait, show, first);
	} else {
		free(first);
	}
	buf_wipe(&text);
}
