/*
 * wg-mesh-relay - for now the STUN server that agents ask for their outside address; the relay
 * itself will live beside it in this folder (README.md).
 */
#include "lib/daemon.h"
#include "lib/log.h"
#include "rundir.h"
#include "settings.h"

#include <signal.h>
#include <sodium.h>
#include <string.h>

static void on_signal(void *arg, int signo)
{
	log_info("stopping", "signal=%d", signo);
	loop_stop(arg);
}

/* Until a signal; returns the exit code. */
static int serve(struct loop *loop, const struct settings *settings)
{
	struct endpoint endpoints[STUN_MAX_LISTEN];
	struct loop_signal signals[2] = {{.loop = NULL}};
	struct stunserver *server = NULL;
	struct rundir *dir = NULL;
	char error[256];
	size_t count;
	int result = 1;

	if (settings->run_dir && !(dir = rundir_take(settings->run_dir, error, sizeof(error))))
		goto out;
	server = stunserver_new(loop, &settings->stun, error, sizeof(error));
	if (!server)
		goto out;
	signal_start(&signals[0], loop, SIGTERM, on_signal, loop);
	signal_start(&signals[1], loop, SIGINT, on_signal, loop);
	count = stunserver_endpoints(server, endpoints, ARRAY_SIZE(endpoints));
	if (dir && (result = rundir_publish(dir, endpoints, count))) {
		snprintf(error, sizeof(error), "%s/relay.json cannot be written: %s", settings->run_dir,
			 strerror(-result));
		result = 1;
		goto out;
	}
	log_info("ready", "stun=%zu rfc5780=%s version=" WG_MESH_VERSION, count,
		 stunserver_has_pair(server) ? "yes" : "no");
	daemon_notify("READY=1");
	loop_run(loop);
	daemon_notify("STOPPING=1");
	result = 0;
out:
	if (result)
		log_error("failed", "reason=\"%s\"", error);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal_stop(&signals[i]);
	stunserver_free(server);
	rundir_leave(dir);
	return result;
}

int main(int argc, char **argv)
{
	struct settings settings;
	struct loop *loop;
	int status;

	standard_open();
	if (sodium_init() < 0)
		return 1;
	if (settings_load(&settings, argc, argv, &status)) {
		settings_free(&settings);
		return output_end("wg-mesh-relay", status);
	}
	log_open("wg-mesh-relay", NULL, settings.verbose ? LOG_DEBUG : LOG_INFO);
	if (settings.listen || settings.metrics)
		log_warn("not-yet", "reason=\"this version has no relay and no metrics: "
				    "--listen and --metrics open nothing\"");
	loop = loop_new();
	status = serve(loop, &settings);
	loop_free(loop);
	settings_free(&settings);
	return status;
}
