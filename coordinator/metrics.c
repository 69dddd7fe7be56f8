/*
 * metrics.c - is it well, and how much has it done.
 */
#include "metrics.h"
#include "coordinator/api/api.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/api/dispatch.h"
#include "coordinator/sync/events.h"
#include "coordinator/access/password.h"
#include "coordinator/api/server.h"
#include "coordinator/sync/sync.h"
#include "coordinator/store/store.h"
#include "lib/clock.h"

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

void metrics_answer(struct metrics *metrics, const struct endpoint_row *row, int status, uint64_t us)
{
	size_t place = row ? (size_t)(row - endpoints) : METRICS_ROUTES;

	if (place >= METRICS_ROUTES || status < 100 || status >= 600)
		return;
	metrics->routes[place].answers[status / 100 - 1]++;
	histogram_add(&metrics->routes[place].seconds, HISTOGRAM_SECONDS, (double)us / 1e6);
}

void api_health(struct request *rq)
{
	const struct store *store = rq->co->store;

	if (store_behind(store)) {
		reply_problem(rq, 503, "store_unavailable", "the database takes no writes; %zu wait",
			      store_queued(store));
		return;
	}
	reply(rq, 200, json_pack("{sssss{sssI}}", "status", "ok", "version", WG_MESH_VERSION, "store",
				 "state", "ok", "queued", (json_int_t)store_queued(store)));
}

static void describe(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_addf(out, "# TYPE wg_mesh_%s %s\n# HELP wg_mesh_%s %s.\n", name, type, name, help);
}

static void gauge(struct buf *out, const char *name, const char *help, size_t value)
{
	describe(out, name, "gauge", help);
	buf_addf(out, "wg_mesh_%s %zu\n", name, value);
}

static void histogram(struct buf *out, const char *name, const char *help, enum histogram_kind kind,
		      const struct histogram *from)
{
	char full[80];

	snprintf(full, sizeof(full), "wg_mesh_%s", name);
	describe(out, name, "histogram", help);
	histogram_write(out, from, kind, full, "");
}

/* Routes that nobody has asked for yet are left out. */
static void routes(struct buf *out, const struct metrics *metrics)
{
	char labels[200];

	describe(out, "http_answers", "counter", "answers by route and class of status");
	for (size_t i = 0; i < METRICS_ROUTES && endpoints[i].method; i++)
		for (unsigned class = 0; class < METRICS_CLASSES; class++)
			if (metrics->routes[i].answers[class])
				buf_addf(out, "wg_mesh_http_answers_total{method=\"%s\",route=\"%s\",status="
					 "\"%uxx\"} %llu\n", endpoints[i].method, endpoints[i].path, class + 1,
					 (unsigned long long)metrics->routes[i].answers[class]);
	describe(out, "http_request_seconds", "histogram", "time from a whole request to its answer, by route");
	for (size_t i = 0; i < METRICS_ROUTES && endpoints[i].method; i++) {
		if (!histogram_count(&metrics->routes[i].seconds))
			continue;
		snprintf(labels, sizeof(labels), "method=\"%s\",route=\"%s\"", endpoints[i].method,
			 endpoints[i].path);
		histogram_write(out, &metrics->routes[i].seconds, HISTOGRAM_SECONDS,
				"wg_mesh_http_request_seconds", labels);
	}
}

void api_metrics(struct request *rq)
{
	const struct coordinator *co = rq->co;
	struct buf out;

	buf_init(&out, 0);
	for (size_t i = 0; i < COUNTERS; i++) {
		describe(&out, counters[i].name, "counter", counters[i].help);
		buf_addf(&out, "wg_mesh_%s_total %llu\n", counters[i].name,
			 (unsigned long long)co->counters[i]);
	}
	gauge(&out, "agents", "agents registered", map_count(co->mesh.agents));
	gauge(&out, "networks", "networks", map_count(co->mesh.networks_by_id));
	gauge(&out, "streams", "agents connected", sync_streams(co->sync));
	gauge(&out, "other_coordinators", "others on the same database that live", cluster_others(co->cluster));
	gauge(&out, "listeners", "dashboards listening to events", events_listeners(co->events));
	gauge(&out, "connections", "connections open", server_connections(co->server));
	gauge(&out, "store_queue", "statements that wait for the database", store_queued(co->store));
	gauge(&out, "store_failing", "1 while the database takes no writes", store_behind(co->store));
	describe(&out, "clock_ahead_seconds", "gauge", "this host's clock less the database's; 0 with SQLite");
	buf_addf(&out, "wg_mesh_clock_ahead_seconds %lld\n", (long long)clock_host_ahead() / 1000);
	gauge(&out, "password_queue", "passwords being looked at", passwords_queued(co->passwords));
	histogram(&out, "store_commit_seconds", "time of a commit", HISTOGRAM_SECONDS,
		  store_commits(co->store));
	histogram(&out, "delta_bytes", "size of deltas to agents", HISTOGRAM_BYTES, &co->metrics.delta_bytes);
	histogram(&out, "snapshot_bytes", "size of snapshots to agents", HISTOGRAM_BYTES,
		  &co->metrics.snapshot_bytes);
	routes(&out, &co->metrics);
	buf_puts(&out, "# EOF\n");
	reply_raw(rq, 200, NULL, "application/openmetrics-text; version=1.0.0; charset=utf-8", buf_text(&out),
		  out.len);
	buf_free(&out);
}
