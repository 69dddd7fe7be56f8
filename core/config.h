/*
 * config.h - IFACE.yaml (SPEC 5): read whole, checked whole, immutable afterwards.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "lib/prefix.h"
#include "lib/yaml.h"

struct config_plugin { /* one entry of discovery:, natmap:, relay: */
	char *name;
	json_t *options; /* borrowed object or NULL */
};

enum config_accept { ACCEPT_NONE, ACCEPT_PRIVATE, ACCEPT_LIST };

struct config {
	struct yaml *yaml; /* owns all borrowed JSON */
	char *coordinator_url, *coordinator_pin; /* pin NULL: the usual authorities */
	char *name;                              /* NULL: the host name */
	uint16_t listen_port;
	struct config_plugin *discovery, *natmap, *relay;
	size_t discovery_count, natmap_count, relay_count;
	char *firewall, *dns, *exit_node; /* exit_node NULL: none */
	struct prefix *advertise, *accept;
	size_t advertise_count, accept_count;
	enum config_accept accept_mode;
	bool psk_auto;
	uint64_t psk_every_ms; /* how long a preshared key serves */
	const json_t *hooks; /* borrowed: object of lists of strings, keys as in SPEC 6; may be NULL */
};

/* NULL and "FILE:LINE:COLUMN: sentence". */
struct config *config_load(const char *path, char error[static YAML_ERROR]);
void config_free(struct config *config);

#endif
