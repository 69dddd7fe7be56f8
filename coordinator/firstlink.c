/*
 * firstlink.c - where standard output is the journal, or systemd has started us, it is a log: then
 * the link goes to a file.
 */
#include "firstlink.h"
#include "registry.h"
#include "store.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIFETIME_MS (3600 * 1000ull)

struct first {
	struct store_wait wait;
	struct coordinator *co;
	char *link, key[PROTO_ID_MAX];
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
	char *line = xasprintf("%s\n", first->link);

	if (!map_get(first->co->mesh.keys, first->key)) {
		log_info("first-link", "reason=\"another coordinator on this database has made one\"");
	} else if (is_service()) {
		if (file_write_atomic(path, line, strlen(line), 0600) < 0)
			log_error("first-link", "file=%s reason=\"cannot be written; make a link with "
				  "key create\"", path);
		else
			log_info("first-link", "file=%s reason=\"a join link for the next hour is in this "
				 "file\"", path);
	} else {
		fputs(line, stdout);
		fflush(stdout);
	}
	secret_wipe(first->link, strlen(first->link));
	secret_wipe(line, strlen(line));
	free(line);
	free(path);
	free(first->link);
	free(first);
}

void firstlink_make(struct coordinator *co, struct network *network)
{
	const struct key_wish wish = {.network = network, .reusable = true, .lifetime_ms = LIFETIME_MS};
	const struct join_key *key;
	struct first *first;
	char secret[SECRET_TEXT];
	struct refusal why;

	key = registry_key_create(co, &wish, "first start", secret, &why);
	if (!key)
		return;
	first = xcalloc(1, sizeof(*first));
	first->co = co;
	str_copy(first->key, sizeof(first->key), key->id);
	first->link = coordinator_link(co, secret);
	secret_wipe(secret, sizeof(secret));
	store_wait(co->store, &first->wait, show, first);
}
