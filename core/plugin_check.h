/*
 * plugin_check.h - what `wg-meshd --check` asks of plugins.
 */
#ifndef CORE_PLUGIN_CHECK_H
#define CORE_PLUGIN_CHECK_H

#include "config.h"

/* Loads the plugins that the configuration names (a script is asked to describe itself), opens none,
 * and prints a sentence on stderr for each that cannot be used. False: an option is wrong. One that is
 * missing or broken is no fault of the configuration: the agent goes on without it. */
bool plugin_check(const struct config *config, const char *interface, const char *plugin_dir);

#endif
