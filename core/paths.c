/*
 * Where an interface's files are. A path that does not fit is an error here, once, so that nobody
 * behind ever works on a cut one.
 */
#include "paths.h"

#include "lib/str.h"
#include <errno.h>
#include <stdarg.h>

static bool PRINTF_LIKE(2, 3) put(char out[static PATHS_MAX], const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(out, PATHS_MAX, format, args);
	va_end(args);
	return len >= 0 && len < PATHS_MAX;
}

/* Without the slashes at its end; "/" stays. */
static bool put_dir(char out[static PATHS_MAX], const char *dir, const char *otherwise)
{
	size_t len;

	if (!str_copy(out, PATHS_MAX, dir ? dir : otherwise))
		return false;
	for (len = strlen(out); len > 1 && out[len - 1] == '/'; len--)
		out[len - 1] = 0;
	return len > 0;
}

/* "DIR/" names the directory, "DIR/FILE" both; a bare FILE is in the working directory. */
static bool put_config(struct paths *paths, const char *interface, const char *config)
{
	const char *slash = config ? strrchr(config, '/') : NULL;
	char dir[PATHS_MAX];

	if (!config || (slash && !slash[1]))
		return put_dir(paths->config_dir, config, WG_MESH_SYSCONFDIR) &&
		       put(paths->config, "%s/%s.yaml", paths->config_dir, interface);
	if (!*config || !str_copy(paths->config, PATHS_MAX, config))
		return false;
	str_copy(dir, sizeof(dir), config);
	if (slash)
		dir[slash - config + 1] = 0;
	return put_dir(paths->config_dir, slash ? dir : ".", NULL);
}

int paths_init(struct paths *paths, const char *interface, const char *config, const char *state,
	       const char *run_dir, const char *plugin_dir)
{
	struct paths p = {0};
	bool fits;

	if (!interface_name_valid(interface))
		return -EINVAL;
	fits = put_config(&p, interface, config) &&
	       put_dir(p.state_dir, state, WG_MESH_STATEDIR "/agent") &&
	       put_dir(p.run_dir, run_dir, WG_MESH_RUNDIR) &&
	       put_dir(p.plugin_dir, plugin_dir, WG_MESH_PLUGINDIR) &&
	       put(p.hooks_dir, "%s/hooks.d", p.config_dir) &&
	       put(p.state, "%s/%s.json", p.state_dir, interface) &&
	       put(p.psk, "%s/%s.psk", p.state_dir, interface) &&
	       put(p.rekey, "%s/%s.rekey", p.state_dir, interface) &&
	       put(p.socket, "%s/%s.sock", p.run_dir, interface) &&
	       put(p.ledger, "%s/%s.owned", p.run_dir, interface) &&
	       put(p.hooks, "%s/%s.hooks", p.run_dir, interface) &&
	       put(p.turn, "%s/%s.turn", p.run_dir, interface) &&
	       put(p.pid, "%s/%s.pid", p.run_dir, interface) &&
	       put(p.log, "%s/%s.log", p.run_dir, interface) &&
	       put(p.log_old, "%s/%s.log.1", p.run_dir, interface) &&
	       put(p.hung, "%s/%s.hung", p.run_dir, interface);
	if (!fits)
		return -ENAMETOOLONG;
	*paths = p;
	return 0;
}
