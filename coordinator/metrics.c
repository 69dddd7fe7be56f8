/*
 * metrics.c - is it well, and how much has it done.
 */
#include "api.h"
#include "server.h"
#include "sync.h"
#include "store.h"

#include <stdio.h>

static const struct {
	const char *name, *help;
} counters[COUNTERS] = {
	[COUNT_REQUESTS] = {"requests", "HTTP requests"},
	[COUNT_REFUSED] = {"requests_refused", "HTTP answers from 400 up"},
	[COUNT_REGISTRATIONS] = {"registrations", "registrations taken"},
	[COUNT_REGISTRATIONS_REFUSED] = {"registrations_refused", "registrations refused"},
	[COUNT_RATE_LIMITED] = {"rate_limited", "requests, frames and connections over a limit"},
	[COUNT_STREAMS_OPENED] = {"streams_opened", "agents' streams opened"},
	[COUNT_STREAMS_DROPPED] = {"streams_dropped", "streams ended for silence, slowness or nonsense"},
	[COUNT_SNAPSHOTS] = {"snapshots", "snapshots sent"},
	[COUNT_RESUMES] = {"resumes", "streams that went on where they left off"},
	[COUNT_CHANGES] = {"changes", "changes of the mesh"},
	[COUNT_SIGNALS] = {"signals", "signals passed on"},
};

void api_health(struct request *rq)
{
	if (store_behind(rq->co->store))
		reply_problem(rq, 503, "store_unavailable", "the database takes no writes");
	else
		reply(rq, 200, json_pack("{ssss}", "status", "ok", "version", WG_MESH_VERSION));
}

static void gauge(struct buf *out, const char *name, const char *help, size_t value)
{
	buf_addf(out, "# TYPE wg_mesh_%s gauge\n# HELP wg_mesh_%s %s.\nwg_mesh_%s %zu\n", name, name, help,
		 name, value);
}

void api_metrics(struct request *rq)
{
	const struct coordinator *co = rq->co;
	struct buf out;

	buf_init(&out, 0);
	for (size_t i = 0; i < COUNTERS; i++)
		buf_addf(&out, "# TYPE wg_mesh_%s counter\n# HELP wg_mesh_%s %s.\nwg_mesh_%s_total %llu\n",
			 counters[i].name, counters[i].name, counters[i].help, counters[i].name,
			 (unsigned long long)co->counters[i]);
	gauge(&out, "agents", "agents registered", map_count(co->mesh.agents));
	gauge(&out, "networks", "networks", map_count(co->mesh.networks_by_id));
	gauge(&out, "streams", "agents connected", sync_streams(co->sync));
	gauge(&out, "connections", "connections open", server_connections(co->server));
	buf_puts(&out, "# EOF\n");
	reply_text(rq, "application/openmetrics-text; version=1.0.0; charset=utf-8", buf_text(&out), out.len);
	buf_free(&out);
}
