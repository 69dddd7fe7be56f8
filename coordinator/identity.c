/*
 * identity.c - see identity.h.
 */
#include "identity.h"
#include "backup.h"
#include "pin.h"
#include "coordinator/mesh/registry.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char *server_key_path(const struct coordinator *co)
{
	return xasprintf("%s/server.key", co->config.state);
}

/* The X25519 key that proofs are made for: made once, never changed. A new one is not written yet. */
static int load_server_key(struct coordinator *co, char *error, size_t size)
{
	char *path = server_key_path(co);
	struct buf file;
	int result;

	buf_init(&file, 128);
	result = file_read(path, 128, &file);
	buf_text(&file)[strcspn(buf_text(&file), "\r\n")] = '\0';
	if (result == -ENOENT) {
		key_generate_private(&co->private_key);
		co->server_key_new = true;
		result = 0;
	} else if (result < 0 && result != -EFBIG) {
		snprintf(error, size, "cannot read the server key %s: %s", path, file_why(result));
	} else if (result < 0 || !key_parse(&co->private_key, buf_text(&file))) {
		snprintf(error, size, "the server key %s %s: restore it from a backup", path,
			 result || *buf_text(&file) ? "is no key (44 characters of base64)" : "is empty");
		result = -EBADMSG;
	}
	key_public(&co->public_key, &co->private_key);
	buf_wipe(&file);
	free(path);
	return result < 0;
}

static int write_server_key(const struct coordinator *co, char *error, size_t size)
{
	char *path = server_key_path(co), text[KEY_BASE64 + 1];
	int result;

	key_format(text, &co->private_key);
	str_copy(text + KEY_BASE64 - 1, 2, "\n");
	result = file_write_atomic(path, text, KEY_BASE64, 0600);
	if (result < 0)
		snprintf(error, size, "cannot write the server key %s: %s; mend that, or move the state directory with "
			 "--state", path, strerror(-result));
	secret_wipe(text, sizeof(text));
	free(path);
	return result < 0;
}

static void count_row(void *arg, const struct store_value *row)
{
	(void)row;
	++*(unsigned *)arg;
}

int identity_confirm(struct coordinator *co, const struct key *known, char *error, size_t size)
{
	unsigned agents = 0;

	if (known ? key_equal(known, &co->public_key) : !co->server_key_new)
		return 0;
	if (store_read(co->store, STORE_AGENTS, 1, count_row, &agents) < 0) {
		snprintf(error, size, "cannot read the database: restore it from a backup");
		return 1;
	}
	if (co->cluster && known)
		snprintf(error, size, "%s/server.key is not the key of the other coordinators on this database: copy "
			 "server.key from the state directory of one of them, or restore it from a backup",
			 co->config.state);
	else if (agents)
		snprintf(error, size, "%s/server.key is %s: restore it from a backup, or move the database away to begin "
			 "a new mesh, which all agents join anew", co->config.state,
			 co->server_key_new ? "not there, which the agents in the database prove their keys to"
					    : "not the key that the agents in the database prove theirs to");
	else
		return co->server_key_new ? write_server_key(co, error, size) : 0;
	return 1;
}

static int make_certificate(const struct config *config, const char *cert, const char *key, char *error, size_t size)
{
	char hosts[CONFIG_MAX_URLS][300];
	const char *names[CONFIG_MAX_URLS + 2] = {NULL};

	for (unsigned i = 0; i < config->url_count; i++) {
		origin_host(hosts[i], sizeof(hosts[i]), config->urls[i]);
		if (*hosts[i] == '[')
			hosts[i][strcspn(hosts[i], "]")] = '\0';
		names[i] = hosts[i] + (*hosts[i] == '[');
	}
	names[config->url_count] = "localhost";
	return tls_make_certificate(cert, key, names, error, size);
}

/* False: nothing is wrong with its dates. */
static bool dates_fault(const struct tls_server *tls, const char *cert, char *fault, size_t size)
{
	int64_t now = time(NULL), from, until; /* this host's clock, not the database's */
	char day[40];
	struct tm utc;
	time_t at;

	tls_server_dates(tls, &from, &until);
	at = now > until ? until : from;
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &utc));
	if (now > until)
		snprintf(fault, size, "the certificate %s ended at %s: agents and browsers refuse it; renew it, then "
			 "SIGHUP loads it", cert, day);
	else if (now < from)
		snprintf(fault, size, "the certificate %s begins at %s only: agents and browsers refuse it until then; "
			 "look whether this host's clock is right", cert, day);
	return now > until || now < from;
}

void identity_tell_dates(const struct tls_server *tls, const char *cert)
{
	char fault[500];

	if (dates_fault(tls, cert, fault, sizeof(fault)))
		log_warn("certificate", "reason=\"%s\"", fault);
}

static int open_tls(struct coordinator *co, char *error, size_t size)
{
	const struct config *config = &co->config;
	char *cert = xasprintf("%s/tls.crt", config->state), *key = xasprintf("%s/tls.key", config->state);
	int result = config->cert ? 0 : make_certificate(config, cert, key, error, size);

	if (!result) {
		co->tls = tls_server_new(config->cert ? config->cert : cert,
					 config->cert ? config->key : key, error, size);
		result = co->tls ? 0 : -EINVAL;
	}
	if (!result)
		tls_server_pin(co->tls, co->tls_pin);
	if (!result && config->cert)
		identity_tell_dates(co->tls, config->cert);
	else if (!result)
		str_copy(co->pin, sizeof(co->pin), co->tls_pin);
	if (!result && config->next_key)
		result = pin_of_key(config->next_key, co->next_pin, error, size);
	free(cert);
	free(key);
	return result < 0;
}

static int check(const struct config *config, bool tell, char *error, size_t size)
{
	struct tls_server *tls;
	char pin[44], fault[500];

	if (config->cert) {
		tls = tls_server_new(config->cert, config->key, error, size);
		if (!tls)
			return -1;
		if (tell && dates_fault(tls, config->cert, fault, sizeof(fault)))
			fprintf(stderr, "wg-mesh-coordinator: warning: %s\n", fault);
		tls_server_free(tls);
	}
	return config->next_key && pin_of_key(config->next_key, pin, error, size) < 0 ? -1 : 0;
}

int identity_check(const struct config *config, char *error, size_t size)
{
	return check(config, true, error, size);
}

/* The exit code of a start that could not go on for its keys; what is wrong with what the configuration names is
 * wrong with the configuration. */
static int code_of(const struct config *config, char *error, size_t size)
{
	if (!config->cert)
		restore_missing_keys(config, true, error, size); /* then that is why */
	return check(config, false, error, size) ? 2 : 1;
}

static bool in_state(const struct config *config, const char *name)
{
	char *path = xasprintf("%s/%s", config->state, name);
	bool there = !access(path, F_OK);

	free(path);
	return there;
}

int identity_load(struct coordinator *co, char *error, size_t size)
{
	const struct config *config = &co->config;

	co->tls_key_new = !config->cert && !in_state(config, "tls.key") && !in_state(config, "tls.crt");
	if (load_server_key(co, error, size) || (!co->tls_key_new && open_tls(co, error, size)))
		return code_of(config, error, size);
	return 0;
}

/* That agents know another key is no reason to refuse the start: nobody else has that, and only a coordinator that
 * runs makes links. Beside other coordinators a new one has a new key, of which these tell the agents. */
int identity_make_tls(struct coordinator *co, char *error, size_t size)
{
	if (!co->tls_key_new)
		return 0;
	if (open_tls(co, error, size))
		return code_of(&co->config, error, size);
	if (co->cluster || !map_count(co->mesh.agents))
		return 0;
	log_warn("tls-key", "file=%s/tls.key reason=\"there was none, so a new one was made: agents and links that know "
		 "another do not come in; put back tls.key and tls.crt from a backup and restart, or let each agent "
		 "join again by a new link\"", co->config.state);
	store_begin(co->store);
	registry_audit(co, "start", "tls-key-made", NULL, "agents and links that know another key do not come in");
	return 0;
}
