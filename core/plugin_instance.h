/*
 * plugin_instance.h - one opened plugin, for the files plugin_*.c and the files of the kinds
 * (discovery.c) alone.
 */
#ifndef CORE_PLUGIN_INSTANCE_H
#define CORE_PLUGIN_INSTANCE_H

#include "lib/list.h"
#include "plugin.h"
#include "plugin_host.h"
#include "plugin_resolve.h"
#include "plugin_watchdog.h"

#define PLUGIN_FOUND_MAX    16
#define PLUGIN_REQUESTS_MAX 64

struct plugin_script; /* plugin_exec.c */
struct proc;

enum plugin_state {
	PLUGIN_STARTING, /* a script is describing itself */
	PLUGIN_RUNNING,
	PLUGIN_FAILED, /* tried again */
	PLUGIN_REFUSED, /* not tried again before the next reload */
	PLUGIN_HUNG,    /* the agent was ended by it: not tried before its file is a newer one */
	PLUGIN_CRASHED, /* likewise */
	PLUGIN_CHECKED, /* good, and not to be opened */
};

struct plugin_instance {
	struct wgm_host api; /* first: what the plugin holds */
	struct list node;
	struct plugin_host *host;
	uint64_t id;
	uint32_t kind;
	char name[PLUGIN_NAME_MAX], label[PLUGIN_NAME_MAX]; /* "stun", "discovery-stun" */
	const json_t *options; /* of the running configuration; NULL: none */
	json_t *options_copy;  /* to see whether a reload changed them */
	bool wanted;           /* during plugin_host_configure */

	enum plugin_state state;
	enum plugin_form form;
	char path[512], error[PLUGIN_ERROR];
	unsigned failures;
	struct loop_timer retry;
	struct plugin_script *script;
	struct wgm_plugin plugin; /* all zero before it is loaded */
	struct plugin_values values;
	void *self;

	/* What it has been lent. */
	struct list timers, watches, jobs;
	uint8_t requests[PLUGIN_REQUESTS_MAX][12]; /* transactions of STUN requests it has sent */
	unsigned next_request;

	/* What it has told. */
	struct wgm_candidate found[PLUGIN_FOUND_MAX];
	size_t found_count;
	struct wgm_nat nat;
};

/* Shared by plugin threads and the loop: outlives the host while something refers to it. */
struct plugin_anchor {
	unsigned refs; /* atomic */
	struct plugin_host *host; /* NULL: gone; the loop's thread alone looks */
};

struct plugin_listener { /* the agent's part for one kind; only kinds that have one are opened */
	void (*opened)(void *arg, struct plugin_instance *instance);
	void (*news)(void *arg, struct plugin_instance *instance); /* found() or nat(), or it closed */
	void *arg;
};

#define PLUGIN_KINDS (WGM_FIREWALL + 1)

struct plugin_host {
	struct plugin_services services;
	char *dir;
	const struct config *config;
	struct list instances;
	uint64_t last_id;
	struct plugin_listener listeners[PLUGIN_KINDS];
	struct resolver *resolver;
	struct plugin_anchor *anchor;
};

void plugin_host_listen(struct plugin_host *host, uint32_t kind, const struct plugin_listener *listener);
struct plugin_instance *plugin_host_find(struct plugin_host *host, uint64_t id); /* or NULL */

/* plugin_lend.c: fills the api; takes back all that was lent. */
void plugin_lend(struct plugin_instance *instance);
void plugin_take_back(struct plugin_instance *instance);
void plugin_remember_request(struct plugin_instance *instance, const uint8_t txid[static 12]);
bool plugin_sent_request(const struct plugin_instance *instance, const uint8_t txid[static 12]);

/* plugin_jobs.c: these members of the api. */
int plugin_spawn(struct wgm_host *api, const struct wgm_command *command, wgm_result_fn *fn, void *arg);
int plugin_resolve(struct wgm_host *api, const char *name, uint16_t port, wgm_resolved_fn *fn, void *arg);
void plugin_post(struct wgm_host *api, wgm_timer_fn *fn, void *arg);
void plugin_end_jobs(struct plugin_instance *instance);

/* plugin_host.c */
void plugin_instance_described(struct plugin_instance *instance); /* a script's descriptor is there */
void plugin_instance_failed(struct plugin_instance *instance, enum plugin_state state); /* see error */

/* plugin_exec.c: a script becomes a struct wgm_plugin: asks it to describe itself, and calls
 * plugin_instance_described or _failed later. */
void plugin_script_start(struct plugin_instance *instance);
void plugin_script_free(struct plugin_script *script); /* ends what runs; NULL is fine */

#endif
