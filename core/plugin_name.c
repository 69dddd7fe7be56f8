/*
 * plugin_name.c - what kinds are called, and what a plugin may be called: in the configuration, as a
 * file and in its own descriptor alike.
 */
#include "plugin.h"

#include <string.h>

static const char *const kinds[] = {
	[WGM_DISCOVERY] = "discovery",
	[WGM_NATMAP] = "natmap",
	[WGM_RELAY] = "relay",
	[WGM_FIREWALL] = "firewall",
};

const char *plugin_kind_name(uint32_t kind)
{
	return kind && kind < ARRAY_SIZE(kinds) ? kinds[kind] : NULL;
}

uint32_t plugin_kind_parse(const char *name, size_t len)
{
	for (uint32_t kind = 1; kind < ARRAY_SIZE(kinds); kind++)
		if (strlen(kinds[kind]) == len && !memcmp(kinds[kind], name, len))
			return kind;
	return 0;
}

bool plugin_name_valid(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return len && !name[len] && name[0] != '-' && len <= PLUGIN_NAME_LIMIT;
}
