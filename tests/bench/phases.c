/*
 * phases.c - one column of the table: a coordinator from nothing, its agents join, change, talk; then
 * it is killed and started again and they all come back. Every wait has an end, and who does not get
 * there is counted, so that a bad coordinator gives bad figures and not a bench that hangs.
 */
#include "bench.h"
#include "lib/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS     20
#define JOIN_MS     180000
#define CHANGES_MS  60000
#define STORM_MS    180000
#define REST_MS     1000  /* quiet: nothing heard for so long */
#define REST_MAX_MS 30000
#define IDLE_MS     5000
#define STORM_MAX_WAIT_MS 1000 /* agents come back within this, at random */

struct phase {
	struct fleet *fleet;
	bool (*over)(struct phase *phase);
	struct loop_timer poll, step;
	uint64_t end_ms, started_ns;
	unsigned next, ready, gap_ms, total;
	bool signals;
};

static unsigned marks_used; /* of 65536, in one run */

static void on_poll(void *arg)
{
	struct phase *phase = arg;

	if (phase->over(phase) || loop_now(phase->fleet->loop) >= phase->end_ms)
		loop_stop(phase->fleet->loop);
	else
		timer_start(&phase->poll, POLL_MS);
}

/* Runs the loop until it is over. False: the time was up before. */
static bool run(struct phase *phase, bool (*over)(struct phase *phase), uint64_t limit_ms)
{
	struct loop *loop = phase->fleet->loop;

	phase->over = over;
	phase->end_ms = loop_now(loop) + limit_ms;
	phase->started_ns = now_ns();
	timer_init(&phase->poll, loop, on_poll, phase);
	timer_start(&phase->poll, POLL_MS);
	while (!over(phase) && loop_now(loop) < phase->end_ms)
		loop_run(loop);
	timer_stop(&phase->poll);
	return over(phase);
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

static bool never(struct phase *phase)
{
	(void)phase;
	return false;
}

static bool at_rest(struct phase *phase)
{
	return now_ns() - MAX(phase->fleet->heard_ns, phase->started_ns) > REST_MS * 1000000ull;
}

static void rest(struct fleet *fleet)
{
	struct phase phase = {.fleet = fleet};

	run(&phase, at_rest, REST_MAX_MS);
}

/* ---- joining ------------------------------------------------------------------------- */

static struct phase *joining;

static void join_next(struct phase *phase)
{
	if (phase->next < phase->fleet->count)
		sim_join(&phase->fleet->sims[phase->next++]);
}

static void has_joined(struct fleet *fleet, struct sim *sim)
{
	(void)fleet;
	(void)sim;
	joining->ready++;
	join_next(joining);
}

static bool all_joined(struct phase *phase)
{
	return phase->ready == phase->fleet->count && phase->fleet->complete == phase->fleet->count;
}

static void join(struct fleet *fleet, unsigned run_number, unsigned window)
{
	struct phase phase = {.fleet = fleet};
	uint64_t cpu = fleet_cpu_ns(fleet), own = own_cpu_ns(), begin = now_ns();
	struct memory before = fleet_memory(fleet), after;
	double took, each = fleet->count;

	joining = &phase;
	fleet->ready = has_joined;
	for (unsigned i = 0; i < window; i++)
		join_next(&phase);
	if (!run(&phase, all_joined, JOIN_MS))
		fault(run_number, "not joined, maps not complete", "%u, %u", fleet->count - phase.ready,
		      fleet->count - fleet->complete);
	if (fleet->refused)
		fault(run_number, "joins refused", "%u", fleet->refused);
	took = seconds(fleet->complete_ns - begin);
	figure(run_number, "joined in (s), every map complete", "%.2f", took);
	figure(run_number, "joins/s", "%.0f", each / took);
	figure(run_number, "  CPU a join: coordinator (ms)", "%.2f",
	       seconds(fleet_cpu_ns(fleet) - cpu) * 1e3 / each);
	figure(run_number, "  CPU a join: generator (ms)", "%.2f", seconds(own_cpu_ns() - own) * 1e3 / each);
	rest(fleet);
	after = fleet_memory(fleet);
	figure(run_number, "resident, no agents (KiB)", "%.0f", before.rss);
	figure(run_number, "resident, all connected (KiB)", "%.0f", after.rss);
	figure(run_number, "resident per agent (KiB)", "%.1f", (after.rss - before.rss) / each);
}

/* ---- doing nothing -------------------------------------------------------------------------- */

static struct {
	double subject, own; /* of one second */
} idle_cpu;

static void idle(struct fleet *fleet, unsigned run_number)
{
	struct phase phase = {.fleet = fleet};
	uint64_t cpu = fleet_cpu_ns(fleet), own = own_cpu_ns(), begin = now_ns();
	double took;

	run(&phase, never, IDLE_MS);
	took = seconds(now_ns() - begin);
	idle_cpu.subject = seconds(fleet_cpu_ns(fleet) - cpu) / took;
	idle_cpu.own = seconds(own_cpu_ns() - own) / took;
	figure(run_number, "CPU while idle (%)", "%.2f", idle_cpu.subject * 100);
}

/* ---- changes and signals --------------------------------------------------------------------- */

static void step(void *arg)
{
	struct phase *phase = arg;
	struct fleet *fleet = phase->fleet;
	/* Spread over all networks: a prime is a stride that meets everybody. */
	struct sim *sim = &fleet->sims[(uint64_t)phase->next * 7919 % fleet->count];
	unsigned other = (sim->slot + 1 + random_below(sim->network->size - 1)) % sim->network->size;

	if (sim->state == STREAMING && fleet->sims[sim->network->first + other].state == STREAMING) {
		if (phase->signals)
			sim_signal(sim, &fleet->sims[sim->network->first + other], marks_used++);
		else
			sim_move(sim, marks_used++);
	}
	if (++phase->next < phase->total)
		timer_start(&phase->step, phase->gap_ms);
}

static bool all_told(struct phase *phase)
{
	return phase->next == phase->total && !phase->fleet->marks_open;
}

/* `total` changes, a gap apart. */
static void do_changes(struct fleet *fleet, struct phase *phase)
{
	samples_free(&fleet->latency);
	fleet->marks_open = 0;
	memset(fleet->marks, 0, 65536 * sizeof(*fleet->marks));
	fleet->mark_count = 65536;
	phase->fleet = fleet;
	timer_init(&phase->step, fleet->loop, step, phase);
	timer_start(&phase->step, 1);
	run(phase, all_told, CHANGES_MS);
	timer_stop(&phase->step);
}

static void changes(struct fleet *fleet, unsigned run_number, unsigned total, unsigned rate)
{
	struct phase phase = {.total = total, .gap_ms = 1000 / rate};
	uint64_t cpu = fleet_cpu_ns(fleet), own = own_cpu_ns(), begin = now_ns();
	double each = total, took;

	do_changes(fleet, &phase);
	took = seconds(now_ns() - begin);
	if (fleet->marks_open)
		fault(run_number, "changes not known everywhere", "%u", fleet->marks_open);
	figure(run_number, "changes/s, peers told of each", "%u, %u", rate, fleet->networks[0].size - 1);
	figure(run_number, "change at its peers p50 (ms)", "%.2f", samples_ms(&fleet->latency, 0.5));
	figure(run_number, "change at its peers p99 (ms)", "%.2f", samples_ms(&fleet->latency, 0.99));
	figure(run_number, "change at its peers max (ms)", "%.2f", samples_ms(&fleet->latency, 1));
	figure(run_number, "  CPU a change: coordinator (us)", "%.0f",
	       (seconds(fleet_cpu_ns(fleet) - cpu) - idle_cpu.subject * took) * 1e6 / each);
	figure(run_number, "  CPU a change: generator (us)", "%.0f",
	       (seconds(own_cpu_ns() - own) - idle_cpu.own * took) * 1e6 / each);
}

/* Everybody of one network at once, at most 100: they must come in few frames. */
static void burst(struct fleet *fleet, unsigned run_number)
{
	struct phase phase = {.fleet = fleet, .signals = false};
	struct sim_network *network = &fleet->networks[0];
	unsigned total = MIN(network->size, 100);
	uint64_t frames, cpu = fleet_cpu_ns(fleet);

	rest(fleet);
	frames = fleet->frames;
	samples_free(&fleet->latency);
	for (unsigned i = 0; i < total; i++)
		sim_move(&fleet->sims[network->first + i], marks_used++);
	run(&phase, all_told, CHANGES_MS);
	figure(run_number, "burst of changes: all known in (ms)", "%.1f", samples_ms(&fleet->latency, 1));
	figure(run_number, "  changes, frames an agent got", "%u, %.1f", total,
	       (double)(fleet->frames - frames) / network->size);
	figure(run_number, "  CPU of the burst: coordinator (ms)", "%.1f",
	       seconds(fleet_cpu_ns(fleet) - cpu) * 1e3);
}

static void signals(struct fleet *fleet, unsigned run_number)
{
	struct phase phase = {.total = 300, .gap_ms = 5, .signals = true};

	do_changes(fleet, &phase);
	figure(run_number, "signal to one agent p50, p99 (ms)", "%.2f, %.2f",
	       samples_ms(&fleet->latency, 0.5), samples_ms(&fleet->latency, 0.99));
}

/* ---- killed, started, all come back ------------------------------------------------------------- */

static void is_back(struct fleet *fleet, struct sim *sim)
{
	(void)fleet;
	(void)sim;
	joining->ready++;
}

static void storm(struct fleet *fleet, unsigned run_number)
{
	struct phase phase = {.fleet = fleet};
	uint64_t begin, frames, first_frames = fleet->frames, failures = fleet->failures, cpu;
	struct memory memory;

	fleet->reconnecting = true;
	fleet->ready = is_back;
	joining = &phase;
	subject_kill(fleet->subjects);
	for (unsigned i = 0; i < fleet->count; i++)
		sim_connect(&fleet->sims[i], random_below(STORM_MAX_WAIT_MS));
	begin = now_ns();
	if (subject_start(fleet->subjects)) {
		fault(run_number, "does not start again", "yes");
		return;
	}
	figure(run_number, "restart: takes connections in (s)", "%.2f", seconds(now_ns() - begin));
	if (!run(&phase, all_joined, STORM_MS))
		fault(run_number, "not back, maps not complete", "%u, %u", fleet->count - phase.ready,
		      fleet->count - fleet->complete);
	figure(run_number, "restart: all back, maps complete (s)", "%.2f",
	       seconds(fleet->complete_ns - begin));
	figure(run_number, "  connections tried in vain", "%llu",
	       (unsigned long long)(fleet->failures - failures));
	cpu = fleet_cpu_ns(fleet);
	figure(run_number, "  CPU of it: coordinator (s)", "%.2f", seconds(cpu));
	frames = fleet->frames;
	rest(fleet);
	figure(run_number, "  then quiet after (s)", "%.2f",
	       fleet->heard_ns > fleet->complete_ns ? seconds(fleet->heard_ns - fleet->complete_ns) : 0);
	figure(run_number, "  frames an agent: till then, after", "%.1f, %.1f",
	       (double)(frames - first_frames) / fleet->count,
	       (double)(fleet->frames - frames) / fleet->count);
	memory = fleet_memory(fleet);
	figure(run_number, "resident after it (KiB)", "%.0f", memory.rss);
}

static void stay(struct fleet *fleet, unsigned for_seconds)
{
	struct phase phase = {.fleet = fleet};

	if (!for_seconds)
		return;
	fprintf(stderr, "  all stay connected; the coordinator is process %d\n", (int)fleet->subjects->pid);
	run(&phase, never, for_seconds * 1000ull);
}

/* ---- several coordinators, one of them killed --------------------------------------------------- */

#define WRITERS       2000 /* agents that register meanwhile, */
#define WRITE_EACH_MS 10   /* one in so many */
#define BEFORE_MS     2000 /* of writing before the kill, */
#define AFTER_MS      2000 /* and after all are back */

struct load {
	struct phase phase; /* of the writers */
	struct fleet *fleet;
	struct sim *writers;
	unsigned next;
	struct loop_timer step;
};

static void write_next(void *arg)
{
	struct load *load = arg;

	if (load->next < WRITERS)
		sim_join(&load->writers[load->next++]);
	timer_start(&load->step, WRITE_EACH_MS);
}

static void back_or_written(struct fleet *fleet, struct sim *sim)
{
	(void)fleet;
	if (!sim->registers_only)
		joining->ready++;
}

/* Answered, but not there at who lives on. */
static unsigned lost_writes(struct fleet *fleet, const struct load *load)
{
	json_t *rows = subject_agents(&fleet->subjects[1], "load"), *row, *there = json_object();
	unsigned lost = 0;
	size_t i;

	json_array_foreach(rows, i, row)
		json_object_set_new(there, json_string_value(json_object_get(row, "agent_id")), json_true());
	for (unsigned n = 0; n < load->next; n++)
		lost += load->writers[n].done && !json_object_get(there, load->writers[n].id);
	json_decref(rows);
	json_decref(there);
	return lost;
}

/* Registrations go on all the time, at all of them. */
static void failover(struct fleet *fleet, unsigned run_number, struct sim_network *network)
{
	struct phase phase = {.fleet = fleet}, pause = {.fleet = fleet};
	struct load load = {.fleet = fleet};
	unsigned answered, killed = 0;
	uint64_t begin;

	load.writers = writers_make(fleet, network, fleet->count, WRITERS);
	fleet->ready = back_or_written;
	fleet->reconnecting = true;
	joining = &phase;
	timer_init(&load.step, fleet->loop, write_next, &load);
	timer_start(&load.step, WRITE_EACH_MS);
	run(&pause, never, BEFORE_MS);
	answered = fleet->written;
	for (unsigned i = 0; i < fleet->count; i++)
		if (fleet->sims[i].subject == fleet->subjects) {
			fleet->sims[i].done = false;
			fleet->sims[i].tries = 0;
			killed++;
		}
	phase.ready = fleet->count - killed;
	begin = now_ns();
	subject_kill(fleet->subjects);
	if (!run(&phase, all_joined, STORM_MS))
		fault(run_number, "not back, maps not complete", "%u, %u", fleet->count - phase.ready,
		      fleet->count - fleet->complete);
	figure(run_number, "one killed: its agents", "%u", killed);
	figure(run_number, "  all at others, maps complete (s)", "%.2f", seconds(fleet->complete_ns - begin));
	run(&pause, never, AFTER_MS);
	timer_stop(&load.step);
	rest(fleet);
	figure(run_number, "  writes answered before, after", "%u, %u", answered, fleet->written - answered);
	figure(run_number, "  of these lost", "%u", lost_writes(fleet, &load));
	if (lost_writes(fleet, &load))
		fault(run_number, "lost", "yes");
	writers_free(load.writers, WRITERS);
}

/* ---- the column ------------------------------------------------------------------------------------ */

static int start_all(struct fleet *fleet, const char *program, const struct plan *plan)
{
	fleet->instances = plan->instances;
	for (unsigned i = 0; i < plan->instances; i++)
		if (subject_make(&fleet->subjects[i], program, plan->database, i ? fleet->subjects : NULL) < 0 ||
		    subject_start(&fleet->subjects[i]))
			return -1;
	return 0;
}

/* Each with its join key, known to all coordinators. */
static bool make_networks(struct fleet *fleet, struct sim_network *load)
{
	size_t keys = fleet->network_count + 2; /* and the first link's */
	char cidr[32];

	for (unsigned i = 0; i < fleet->network_count; i++) {
		snprintf(cidr, sizeof(cidr), "10.%u.0.0/16", i);
		fleet->networks[i].join_key = subject_network(fleet->subjects, fleet->networks[i].name, cidr);
		if (!fleet->networks[i].join_key)
			return false;
	}
	if (fleet->instances == 1)
		return true;
	load->join_key = subject_network(fleet->subjects, load->name, "172.16.0.0/16");
	for (unsigned i = 1; load->join_key && i < fleet->instances; i++)
		if (!subject_has_keys(&fleet->subjects[i], keys))
			return false;
	return load->join_key;
}

int bench_run(const char *program, unsigned run_number, const struct plan *plan)
{
	struct sim_network load = {.name = "load"};
	struct fleet fleet = {0};
	struct loop *loop = loop_new();
	int result = -1;

	marks_used = 0;
	fprintf(stderr, "%u agents in networks of %u\n", plan->agents, plan->per_network);
	if (start_all(&fleet, program, plan))
		goto out;
	fleet_make(&fleet, loop, plan->agents, plan->per_network);
	if (!make_networks(&fleet, &load))
		goto out;
	figure(run_number, "agents, in a network", "%u, %u", plan->agents, plan->per_network);
	if (plan->database)
		figure(run_number, "coordinators on PostgreSQL", "%u", plan->instances);
	join(&fleet, run_number, plan->window);
	idle(&fleet, run_number);
	changes(&fleet, run_number, plan->changes, plan->rate);
	burst(&fleet, run_number);
	signals(&fleet, run_number);
	if (plan->restart && plan->instances > 1)
		failover(&fleet, run_number, &load);
	else if (plan->restart)
		storm(&fleet, run_number);
	stay(&fleet, plan->stay);
	result = 0;
out:
	fleet_free(&fleet);
	free(load.join_key);
	for (unsigned i = 0; i < plan->instances; i++)
		subject_remove(&fleet.subjects[i]);
	loop_free(loop);
	return result;
}
