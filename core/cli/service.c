/*
 * service.c - asks systemctl. Options that move our files away mean an agent of our own: the unit
 * knows the usual places only.
 */
#include "service.h"
#include "lib/daemon.h"
#include "lib/str.h"
#include "run.h"

#include <errno.h>
#include <unistd.h>

#define JOB_MS       120 /* up and down have 200 in all */
#define INTERFACE_MS 60000
#define ENABLE_MS    60000 /* join and leave are typed by a person; a daemon-reload may be slow */

static bool unit_installed(const char *unit)
{
	static const char *const directories[] = {"/etc/systemd/system", "/run/systemd/system",
						  "/usr/local/lib/systemd/system",
						  "/usr/lib/systemd/system", "/lib/systemd/system"};
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		snprintf(path, sizeof(path), "%s/%s", directories[i], unit);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

bool service_is_ours(const struct cli *cli)
{
	return !cli->config && !cli->state && !cli->run_dir && !cli->plugin_dir &&
	       daemon_under_systemd() && unit_installed("wg-meshd@.service");
}

int service_agent(const struct cli *cli, const char *verb, char why[static SERVICE_WHY])
{
	char unit[64];
	const char *const argv[] = {"systemctl", "--no-block", "--no-ask-password",
				    verb,        unit,         NULL};
	const struct run run = {.argv = argv, .timeout_ms = JOB_MS, .leave_running = true};
	struct run_result result;
	int error;

	snprintf(unit, sizeof(unit), "wg-meshd@%s.service", cli->interface);
	error = run_program(&run, &result);
	if (!error && result.exit_code)
		error = -EIO;
	if (error == -ETIMEDOUT)
		error = 0; /* systemd is slow: the job is on its way, and goes on without us */
	else if (error)
		snprintf(why, SERVICE_WHY, "systemctl %s %s: %.200s", verb, unit,
			 result.error ? strerror(-error) : run_last_line(&result));
	run_fini(&result);
	return error;
}

static int systemctl(const char *verb, const char *unit)
{
	const char *const argv[] = {"systemctl", "--no-ask-password", "--quiet", verb, unit, NULL};
	const struct run run = {.argv = argv, .timeout_ms = ENABLE_MS};
	struct run_result result;
	int code = run_program(&run, &result) < 0 ? -1 : result.exit_code;

	run_fini(&result);
	return code;
}

bool service_has_wg_quick(void)
{
	return daemon_under_systemd() && unit_installed("wg-quick@.service");
}

bool service_wg_quick_active(const char *interface)
{
	char unit[64];

	snprintf(unit, sizeof(unit), "wg-quick@%s.service", interface);
	return service_has_wg_quick() && systemctl("is-active", unit) == 0;
}

int service_wg_quick(const char *interface, const char *verb, char why[static SERVICE_WHY])
{
	char unit[64];
	const char *const argv[] = {"systemctl", "--no-ask-password", verb, unit, NULL};
	const struct run run = {.argv = argv, .timeout_ms = INTERFACE_MS};
	struct run_result result;
	int error;

	snprintf(unit, sizeof(unit), "wg-quick@%s.service", interface);
	error = run_program(&run, &result);
	if (error)
		snprintf(why, SERVICE_WHY, "systemctl %s %s: %s", verb, unit, strerror(-error));
	else if (result.exit_code)
		snprintf(why, SERVICE_WHY, "systemctl %s %s failed: `journalctl -u %s` says why",
			 verb, unit, unit);
	error = error ? error : result.exit_code ? -EIO : 0;
	run_fini(&result);
	return error;
}

int service_enable(const char *interface, bool enable, bool *changed)
{
	char unit[64];
	bool enabled;

	*changed = false;
	snprintf(unit, sizeof(unit), "wg-quick@%s.service", interface);
	enabled = systemctl("is-enabled", unit) == 0;
	if (enabled == enable)
		return 0;
	if (systemctl(enable ? "enable" : "disable", unit) != 0)
		return -EIO;
	*changed = true;
	return 0;
}
