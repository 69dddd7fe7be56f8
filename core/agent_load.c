/* Configuration and state of an agent, or why it cannot begin. */
#include "agent_load.h"

#include "agent.h"
#include <errno.h>
#include <string.h>

int load_agent(const char *interface, const struct paths *paths, struct config **config,
	       struct state **state, char why[static LOAD_WHY])
{
	char error[MAX(YAML_ERROR, JS_ERROR)];
	int found;

	*state = NULL;
	*config = config_load(paths->config, error);
	if (!*config) {
		snprintf(why, LOAD_WHY, "%s", error);
		return 2;
	}
	found = state_load(state, paths->state, error);
	if (!found)
		return 0;
	if (found == -ENOENT)
		snprintf(why, LOAD_WHY,
			 "%s has not joined a mesh (no %s): `wg-mesh join LINK --interface %s`",
			 interface, paths->state, interface);
	else
		snprintf(why, LOAD_WHY, "%s: %s: `wg-mesh leave %s` clears it away, then join again",
			 paths->state, found == -EBADMSG ? error : strerror(-found), interface);
	config_free(*config);
	*config = NULL;
	return found == -ENOENT ? AGENT_EXIT_GONE : 1;
}

int load_check(const char *interface, const struct paths *paths, char why[static LOAD_WHY])
{
	struct config *config;
	struct state *state;
	int code = load_agent(interface, paths, &config, &state, why);

	if (!code)
		config_free(config);
	state_free(state);
	return code;
}
