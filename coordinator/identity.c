/*
 * identity.c - see identity.h.
 */
#include "identity.h"
#include "backup.h"
#include "pin.h"
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

/* The X25519 key that proofs are made for: made once, never changed. */
static int load_server_key(struct coordinator *co, char *error, size_t size)
{
	char *path = xasprintf("%s/server.key", co->config.state), text[KEY_BASE64 + 1];
	struct buf file;
	int result;

	buf_init(&file, 128);
	result = file_read(path, 128, &file);
	if (result == -ENOENT) {
		key_generate_private(&co->private_key);
		key_format(text, &co->private_key);
		str_copy(text + KEY_BASE64 - 1, 2, "\n");
		result = file_write_atomic(path, text, KEY_BASE64, 0600);
	} else if (!result) {
		buf_text(&file)[strcspn(buf_text(&file), "\r\n")] = '\0';
		result = key_parse(&co->private_key, buf_text(&file)) ? 0 : -EBADMSG;
	}
	if (result < 0)
		snprintf(error, size, "cannot use the server key %s: %s; restore it from a backup", path,
			 strerror(-result));
	key_public(&co->public_key, &co->private_key);
	secret_wipe(text, sizeof(text));
	buf_wipe(&file);
	free(path);
	return result < 0;
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
	int64_t now = (int64_t)(clock_wall_ms() / 1000), from, until;
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

int identity_load(struct coordinator *co, char *error, size_t size)
{
	if (!load_server_key(co, error, size) && !open_tls(co, error, size))
		return 0;
	if (!co->config.cert)
		restore_missing_keys(&co->config, true, error, size); /* then that is why */
	return check(&co->config, false, error, size) ? 2 : 1;
}
