/*
 * admin_read.c - a command that reads is run at once, and its result held until all that memory had then is
 * on the disk. Where another coordinator's change went before in between, it is run again.
 *
 * A database that takes its time, or is away, holds nothing up: then it is run again without what was made
 * since the last commit, and that is the answer. Changes and removals since are in it as memory has them.
 */
#include "admin_commands.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/store/store.h"

#define LATE_MS  300
#define MAX_KEPT 16 /* results at once, each perhaps of all agents; of others the command is run again */

struct held_read {
	struct admin_call *call;
	struct store_wait wait;
	struct loop_timer late;
	uint64_t refusals; /* of others' making, when it was run */
	bool kept;         /* result, or why */
	json_t *result;
	struct refusal why;
};

static json_t *run(struct admin_call *call, struct refusal *why)
{
	struct js js;

	js_read(&js, call->arguments);
	return call->row->fn(call->co, &js, &call->who, why);
}

static void drop(struct held_read *held)
{
	json_decref(held->result);
	held->result = NULL;
	held->call->co->reads_kept -= held->kept;
	held->kept = false;
}

void admin_read_cancel(struct admin_call *call)
{
	struct held_read *held = call->held;

	if (!held)
		return;
	timer_stop(&held->late);
	store_wait_cancel(&held->wait);
	drop(held);
	free(held);
	call->held = NULL;
}

/* While it is being set right, memory has what was refused. */
static uint64_t refusals(const struct coordinator *co)
{
	return cluster_healing(co->cluster) ? UINT64_MAX : cluster_refusals(co->cluster);
}

static void without_new(struct admin_call *call)
{
	struct refusal why;
	json_t *result;

	call->who.until = store_oldest(call->co->store);
	result = run(call, &why);
	admin_finish(call, result, &why);
}

static void on_disk(void *arg);

static void run_and_hold(struct held_read *held)
{
	struct admin_call *call = held->call;
	struct coordinator *co = call->co;

	held->refusals = refusals(co);
	held->kept = co->reads_kept < MAX_KEPT;
	if (held->kept) {
		co->reads_kept++;
		held->result = run(call, &held->why);
	}
	store_wait(co->store, &held->wait, on_disk, held);
}

static void on_disk(void *arg)
{
	struct held_read *held = arg;
	struct admin_call *call = held->call;
	struct refusal why = held->why;
	json_t *result;

	if (!held->kept || held->refusals != cluster_refusals(call->co->cluster)) {
		drop(held);
		run_and_hold(held);
		return;
	}
	result = json_incref(held->result);
	admin_finish(call, result, &why);
}

static void on_late(void *arg)
{
	struct held_read *held = arg;
	struct coordinator *co = held->call->co;

	if (cluster_healing(co->cluster) && !store_behind(co->store))
		timer_start(&held->late, LATE_MS);
	else
		without_new(held->call);
}

void admin_read(struct admin_call *call)
{
	struct coordinator *co = call->co;
	struct held_read *held;
	struct refusal why;
	json_t *result;

	if (!store_queued(co->store) && !cluster_healing(co->cluster)) {
		result = run(call, &why);
		admin_finish(call, result, &why);
		return;
	}
	if (store_behind(co->store)) {
		without_new(call);
		return;
	}
	held = call->held = xcalloc(1, sizeof(*held));
	held->call = call;
	timer_init(&held->late, co->loop, on_late, held);
	timer_start(&held->late, LATE_MS);
	run_and_hold(held);
}
