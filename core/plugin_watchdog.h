/*
 * plugin_watchdog.h - a call into a plugin that does not come back within 5 s, crashes or exits ends
 * the process, after the plugin's name has been written down for the next start.
 */
#ifndef CORE_PLUGIN_WATCHDOG_H
#define CORE_PLUGIN_WATCHDOG_H

#include "lib/util.h"

struct plugin_call {
	unsigned outer;
	const char *outer_label, *label;
	uint64_t outer_began, began;
};

/* Where it is written down: a line "KIND-NAME SECONDS WORDS" is appended. Once a process, on the loop's
 * thread. */
void plugin_watchdog_open(const char *path);
/* Around each call into a plugin, on the loop's thread; may nest. label lives as long as the call. */
void plugin_call_begin(struct plugin_call *call, const char *label);
void plugin_call_end(const struct plugin_call *call);
#define PLUGIN_FAULT 64
/* Is this plugin written down, later than its file was put there? Then words gets what it did to the
 * agent: "hung the agent for 5 s". */
bool plugin_watchdog_guilty(const char *path, const char *label, const char *plugin_path,
			    char words[static PLUGIN_FAULT]);

#endif
