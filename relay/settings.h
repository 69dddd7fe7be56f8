/*
 * settings.h - what the relay was told by its arguments and its file; arguments win.
 */
#ifndef RELAY_SETTINGS_H
#define RELAY_SETTINGS_H

#include "stunserver.h"

struct settings {
	char *config; /* all strings are owned; NULL: not given */
	char *listen, *coordinator, *region, *metrics, *state, *run_dir;
	struct stunserver_options stun;
	bool check, verbose;
};

/* 0: go on. Otherwise the program ends with *status (help and version: 0; what was wrong has been
 * said: 2). settings_free is right in any case. */
int settings_load(struct settings *settings, int argc, char **argv, int *status);
void settings_free(struct settings *settings);

#endif
