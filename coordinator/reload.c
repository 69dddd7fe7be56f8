/*
 * reload.c - SIGHUP: the configuration and the certificate anew, all of it or nothing.
 *
 * What other things hang on (where we listen, the database, the relay) waits for a restart, and is named. A
 * coming key and other URLs are told to the agents at once; a later SIGHUP may then put the key to use.
 */
#include "reload.h"
#include "coordinator.h"
#include "histogram.h"
#include "identity.h"
#include "pin.h"
#include "coordinator/enforce/policy_state.h"
#include "coordinator/sync/sync.h"
#include "lib/daemon.h"
#include "lib/log.h"
#include "lib/str.h"
#include "lib/tls.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool told_of(const struct coordinator *co, const char *pin)
{
	return !strcmp(pin, co->tls_pin) || !strcmp(pin, co->next_pin);
}

/* The next start has the key that is made here. */
static bool leave_certificate(const struct coordinator *co)
{
	char *key = xasprintf("%s/tls.key", co->config.state), pin[44], error[400];
	bool fine = !access(key, F_OK) && !pin_of_key(key, pin, error, sizeof(error)) && told_of(co, pin);

	if (!fine)
		log_error("reload", "reason=\"tls: cert and key are not in the configuration any more, and agents were "
			  "not told of a key of our own: put them back, or make %s, name it as tls: next_key first; "
			  "what was there goes on\"", key);
	free(key);
	return fine;
}

/* A certificate may be renewed at any time; a key that agents were not told of would lock them out. Whether there
 * is one at all is taken with the next start, which must not lock them out either. */
static bool take_certificate(struct coordinator *co, const char *cert, const char *key)
{
	char pin[44], error[300];
	struct tls_server *fresh;

	if (!cert)
		return !co->config.cert || leave_certificate(co);
	fresh = tls_server_new(cert, key, error, sizeof(error));
	if (!fresh) {
		log_error("reload", "reason=\"%s; what was there goes on\"", error);
		return false;
	}
	tls_server_pin(fresh, pin);
	tls_server_free(fresh);
	if (!told_of(co, pin)) {
		log_error("reload", "reason=\"the key in %s is not the one in use, and was not announced as "
			  "tls: next_key: name it there first, so that agents are told of it; what was there goes on\"",
			  key);
		return false;
	}
	if (!co->config.cert)
		return true;
	if (tls_server_reload(co->tls, cert, key, error, sizeof(error)) < 0) {
		log_error("reload", "reason=\"%s; what was there goes on\"", error);
		return false;
	}
	identity_tell_dates(co->tls, cert);
	str_copy(co->tls_pin, sizeof(co->tls_pin), pin);
	return true;
}

/* Its pin, or "" where none is coming. */
static bool read_next(const struct config *fresh, char pin[static 44])
{
	char error[400];

	*pin = '\0';
	if (!fresh->next_key || !pin_of_key(fresh->next_key, pin, error, sizeof(error)))
		return true;
	log_error("reload", "reason=\"%s; what was there goes on\"", error);
	return false;
}

/* What agents know of us, new. */
static json_t *known(const struct coordinator *co)
{
	return json_pack("[oo]", coordinator_urls(co), coordinator_pins(co));
}

/* Other coordinators see it in our next beat, and tell theirs. */
static void announce(struct coordinator *co, const json_t *known_before, const json_t *relays_before)
{
	json_t *now = known(co), *relays = coordinator_relays(co);

	if (!json_equal(now, known_before))
		sync_coordinators(co->sync);
	if (!json_equal(relays, relays_before)) /* the STUN server beside us has the host of our URL */
		sync_relays(co->sync, false);
	json_decref(now);
	json_decref(relays);
}

static void name_what_waits(const struct config *now, const struct config *fresh)
{
	const struct {
		const char *key;
		bool changed;
	} all[] = {
		{"listen", memcmp(&now->listen, &fresh->listen, sizeof(now->listen)) != 0},
		{"state", !same(now->state, fresh->state)},
		{"run_dir", !same(now->run_dir, fresh->run_dir)},
		{"policy", !same(now->policy, fresh->policy)},
		{"db", !same(now->db, fresh->db)},
		{"tls: cert, key", !now->cert != !fresh->cert},
		{"relay: embedded", now->relay_embedded != fresh->relay_embedded},
		{"relay: stun", !same(now->relay_stun, fresh->relay_stun)},
		{"relay: region", !same(now->relay_region, fresh->relay_region)},
	};
	char waits[200] = ""; /* room for all */
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].changed)
			len += (size_t)snprintf(waits + len, sizeof(waits) - len, "%s%s", len ? ", " : "", all[i].key);
	if (len)
		log_warn("configuration-waits", "key=\"%s\" reason=\"this needs a restart; what was there goes on\"",
			 waits);
}

static void take_strings(char **to, char **from)
{
	char *kept = *to;

	*to = *from;
	*from = kept; /* freed with the rest of the fresh one */
}

static void take(struct config *now, struct config *fresh)
{
	unsigned connections = now->limits.connections; /* held to the descriptors there are */

	if (now->cert && fresh->cert) {
		take_strings(&now->cert, &fresh->cert);
		take_strings(&now->key, &fresh->key);
	}
	take_strings(&now->next_key, &fresh->next_key);
	if (fresh->urls_given || now->urls_given) {
		unsigned count = now->url_count;

		for (unsigned i = 0; i < CONFIG_MAX_URLS; i++)
			take_strings(&now->urls[i], &fresh->urls[i]);
		now->url_count = fresh->url_count;
		now->urls_given = fresh->urls_given;
		fresh->url_count = count;
	}
	now->limits = fresh->limits;
	now->limits.connections = MIN(connections, fresh->limits.connections);
	now->token_lifetime_ms = fresh->token_lifetime_ms;
	now->ephemeral_ms = fresh->ephemeral_ms;
	now->session_ms = fresh->session_ms;
	now->dashboard = fresh->dashboard;
}

static void reload(struct coordinator *co)
{
	struct config fresh = {0};
	char error[CONFIG_ERROR] = "", next[44];
	json_t *before = known(co), *relays = coordinator_relays(co);

	if (config_load(&fresh, co->options, false, error)) {
		log_error("reload", "reason=\"%s; what was there goes on\"", error);
	} else if (read_next(&fresh, next) && take_certificate(co, fresh.cert, fresh.key)) {
		str_copy(co->next_pin, sizeof(co->next_pin), next);
		config_take_port(&fresh, co->listening.port);
		name_what_waits(&co->config, &fresh);
		take(&co->config, &fresh);
		announce(co, before, relays);
		log_info("reload", "cert=%s file=%s", co->config.cert ? co->config.cert : "-",
			 co->config.file ? co->config.file : "-");
	}
	config_free(&fresh);
	json_decref(before);
	json_decref(relays);
}

void coordinator_reload(struct coordinator *co)
{
	char state[80];

	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)histogram_now_us());
	daemon_notify(state);
	reload(co);
	policy_reload(co);
	daemon_notify("READY=1");
}
