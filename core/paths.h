/*
 * paths.h - where an interface's files are. Each directory can be moved by an option of the
 * programs, by the environment in tests never, and at build time by the Makefile.
 */
#ifndef CORE_PATHS_H
#define CORE_PATHS_H

#include "lib/util.h"

#define PATHS_MAX 300

struct paths { /* text, always set */
	char config[PATHS_MAX];  /* /etc/wg-mesh/IFACE.yaml */
	char state[PATHS_MAX];   /* /var/lib/wg-mesh/agent/IFACE.json */
	char psk[PATHS_MAX];     /* /var/lib/wg-mesh/agent/IFACE.psk: preshared keys */
	char rekey[PATHS_MAX];   /* /var/lib/wg-mesh/agent/IFACE.rekey: a key that is being changed to */
	char socket[PATHS_MAX];  /* /run/wg-mesh/IFACE.sock */
	char ledger[PATHS_MAX];  /* /run/wg-mesh/IFACE.owned */
	char hooks[PATHS_MAX];   /* /run/wg-mesh/IFACE.hooks: which -down is owed */
	char turn[PATHS_MAX];    /* /run/wg-mesh/IFACE.turn: one `up` or `down` at a time; its time is
				  * when a `down` was last asked for */
	char pid[PATHS_MAX];     /* /run/wg-mesh/IFACE.pid: of a daemon without systemd */
	char log[PATHS_MAX];     /* /run/wg-mesh/IFACE.log: of that daemon */
	char log_old[PATHS_MAX]; /* /run/wg-mesh/IFACE.log.1: its first part, when it was long */
	char hung[PATHS_MAX];    /* /run/wg-mesh/IFACE.hung: plugins that hung or crashed the agent */
	char run_dir[PATHS_MAX], config_dir[PATHS_MAX], state_dir[PATHS_MAX], plugin_dir[PATHS_MAX];
	char hooks_dir[PATHS_MAX]; /* /etc/wg-mesh/hooks.d */
};

/* Any of the options may be NULL: the default. --config is a file, or a directory when it ends in
 * '/'; --state and --run-dir are directories (state: of this interface's file). hooks.d is beside
 * the configuration. 0; -EINVAL: no interface name; -ENAMETOOLONG (or empty). */
int paths_init(struct paths *paths, const char *interface, const char *config, const char *state,
	       const char *run_dir, const char *plugin_dir);

#endif
