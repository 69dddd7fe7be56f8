/*
 * config.h - what `serve` goes by: defaults, then coordinator.yaml, then options.
 */
#ifndef COORDINATOR_CONFIG_H
#define COORDINATOR_CONFIG_H

#include "lib/addr.h"

#include <jansson.h>

#define CONFIG_ERROR    320
#define CONFIG_MAX_URLS 8

struct config_limits {
	size_t body, header;
	unsigned headers, routes;
	unsigned requests_per_address, requests_per_agent; /* a second; bursts are four times it */
	unsigned connections, connections_per_address;
};

struct config {
	char *file; /* NULL: none was there */
	char *policy;         /* file */
	bool policy_optional; /* nobody named it: policy.yaml beside the configuration, which need not be there */
	char *state, *run_dir, *db;
	struct endpoint listen;
	char *urls[CONFIG_MAX_URLS + 1]; /* origins; the first goes into links. Filled with the default */
	unsigned url_count;
	bool urls_given;
	bool url_private; /* nobody gave one, and the default reaches no further than this site */
	char *cert, *key, *next_key; /* NULL: self-made in the state directory */
	bool dashboard;
	bool relay_embedded;
	char *relay_stun;
	char *relay_region; /* what the relay beside us is called; NULL: embedded.c finds a name */
	struct config_limits limits;
	uint64_t token_lifetime_ms;
	uint64_t ephemeral_ms;    /* ephemeral agents go when they were away for so long */
	uint64_t session_ms;      /* of a browser */
};

/* `options` are the command line's: {"config","listen","public_url":[..],"db","policy","state",
 * "run_dir"}. `may_wait`: the file may be a pipe. 0, or 2 (the exit code) and a sentence in error. Either way
 * config_free it. */
int config_load(struct config *config, const json_t *options, bool may_wait, char error[static CONFIG_ERROR]);
/* Where `listen` leaves the port to the kernel, and nobody gave a URL: the default one has this. */
void config_take_port(struct config *config, uint16_t port);
void config_free(struct config *config);

/* "https://HOST[:PORT]" in lower case, without slash at the end and without the default port.
 * False: not an origin. */
bool origin_normalise(char *out, size_t size, const char *url);
/* HOST of an origin, brackets kept. */
void origin_host(char *out, size_t size, const char *origin);

#endif
