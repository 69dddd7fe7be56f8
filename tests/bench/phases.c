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
	uint64_t cpu = subject_cpu_ns(fleet->subject), own = own_cpu_ns(), begin = now_ns();
	struct memory before = subject_memory(fleet->subject), after;
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
	       seconds(subject_cpu_ns(fleet->subject) - cpu) * 1e3 / each);
	figure(run_number, "  CPU a join: generator (ms)", "%.2f", seconds(own_cpu_ns() - own) * 1e3 / each);
	rest(fleet);
	after = subject_memory(fleet->subject);
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
	uint64_t cpu = subject_cpu_ns(fleet->subject), own = own_cpu_ns(), begin = now_ns();
	double took;

	run(&phase, never, IDLE_MS);
	took = seconds(now_ns() - begin);
	idle_cpu.subject = seconds(subject_cpu_ns(fleet->subject) - cpu) / took;
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
	uint64_t cpu = subject_cpu_ns(fleet->subject), own = own_cpu_ns(), begin = now_ns();
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
	       (seconds(subject_cpu_ns(fleet->subject) - cpu) - idle_cpu.subject * took) * 1e6 / each);
	figure(run_number, "  CPU a change: generator (us)", "%.0f",
	       (seconds(own_cpu_ns() - own) - idle_cpu.own * took) * 1e6 / each);
}

/* Everybody of one network at once, at most 100: they must come in few frames. */
static void burst(struct fleet *fleet, unsigned run_number)
{
	struct phase phase = {.fleet = fleet, .signals = false};
	struct sim_network *network = &fleet->networks[0];
	unsigned total = MIN(network->size, 100);
	uint64_t frames, cpu = subject_cpu_ns(fleet->subject);

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
	       seconds(subject_cpu_ns(fleet->subject) - cpu) * 1e3);
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
	subject_kill(fleet->subject);
	for (unsigned i = 0; i < fleet->count; i++)
		sim_connect(&fleet->sims[i], random_below(STORM_MAX_WAIT_MS));
	begin = now_ns();
	if (subject_start(fleet->subject)) {
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
	cpu = subject_cpu_ns(fleet->subject);
	figure(run_number, "  CPU of it: coordinator (s)", "%.2f", seconds(cpu));
	frames = fleet->frames;
	rest(fleet);
	figure(run_number, "  then quiet after (s)", "%.2f",
	       fleet->heard_ns > fleet->complete_ns ? seconds(fleet->heard_ns - fleet->complete_ns) : 0);
	figure(run_number, "  frames an agent: till then, after", "%.1f, %.1f",
	       (double)(frames - first_frames) / fleet->count,
	       (double)(fleet->frames - frames) / fleet->count);
	memory = subject_memory(fleet->subject);
	figure(run_number, "resident after it (KiB)", "%.0f", memory.rss);
}

static void stay(struct fleet *fleet, unsigned for_seconds)
{
	struct phase phase = {.fleet = fleet};

	if (!for_seconds)
		return;
	fprintf(stderr, "  all stay connected; the coordinator is process %d\n", (int)fleet->subject->pid);
	run(&phase, never, for_seconds * 1000ull);
}

int bench_run(const char *program, unsigned run_number, const struct plan *plan)
{
	struct subject subject = {0};
	struct fleet fleet = {0};
	struct loop *loop = loop_new();
	char cidr[32];
	int result = -1;

	marks_used = 0;
	fprintf(stderr, "%u agents in networks of %u\n", plan->agents, plan->per_network);
	if (subject_make(&subject, program, plan->database) < 0)
		return -1;
	fleet_make(&fleet, loop, &subject, plan->agents, plan->per_network);
	if (subject_start(&subject))
		goto out;
	for (unsigned i = 0; i < fleet.network_count; i++) {
		snprintf(cidr, sizeof(cidr), "10.%u.0.0/16", i);
		fleet.networks[i].join_key = subject_network(&subject, fleet.networks[i].name, cidr);
		if (!fleet.networks[i].join_key)
			goto out;
	}
	figure(run_number, "agents, in a network", "%u, %u", plan->agents, plan->per_network);
	join(&fleet, run_number, plan->window);
	idle(&fleet, run_number);
	changes(&fleet, run_number, plan->changes, plan->rate);
	burst(&fleet, run_number);
	signals(&fleet, run_number);
	if (plan->restart)
		storm(&fleet, run_number);
	stay(&fleet, plan->stay);
	result = 0;
out:
	fleet_free(&fleet);
	subject_remove(&subject);
	loop_free(loop);
	return result;
}
