/*
 * main.c - options of the load generator; README.md has what they are for.
 */
#include "bench.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char usage[] =
	"usage: bench [OPTION]... PROGRAM [AGENTS[/PER_NETWORK]]...\n"
	"Starts the coordinator PROGRAM and drives simulated agents against it; one column of the table\n"
	"for each AGENTS. Without any: 100/100 1000/100 10000/100 1000/1000.\n\n"
	"  --window N    joins under way at once (64)\n"
	"  --changes N   endpoint changes (200)\n"
	"  --rate N      of them a second (5000 / PER_NETWORK)\n"
	"  --stay S      leave all connected for S seconds at the end, to have a look\n"
	"  --no-restart  leave the kill and the reconnect storm out\n"
	"  --db URL      an empty database, postgres://USER@HOST/NAME, for one column (SQLite)\n"
	"  --instances N coordinators on it (1); with more than one, the first is killed under load at the end\n"
	"  --json        print the table as JSON\n"
	"Ends with 1 where an agent did not get in, a map was not complete or a change not told to all.\n";

static bool parse_size(struct plan *plan, const char *text)
{
	char *end;

	plan->agents = (unsigned)strtoul(text, &end, 10);
	plan->per_network = *end == '/' ? (unsigned)strtoul(end + 1, &end, 10) : MIN(plan->agents, 100);
	return !*end && plan->agents > 1 && plan->per_network > 1 && plan->agents <= 60000 &&
	       plan->per_network <= plan->agents && plan->agents / plan->per_network < 250 &&
	       plan->agents % plan->per_network != 1;
}

static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max = MAX(limit.rlim_max, 200000);
	if (setrlimit(RLIMIT_NOFILE, &limit)) { /* not root: what there is */
		getrlimit(RLIMIT_NOFILE, &limit);
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"window", required_argument, NULL, 'w'}, {"changes", required_argument, NULL, 'c'},
		{"rate", required_argument, NULL, 'r'},   {"no-restart", no_argument, NULL, 'n'},
		{"stay", required_argument, NULL, 's'},   {"db", required_argument, NULL, 'd'},
		{"json", no_argument, NULL, 'j'},	  {"instances", required_argument, NULL, 'i'},
		{"help", no_argument, NULL, 'h'},	  {0},
	};
	static const char *const all[] = {"100/100", "1000/100", "10000/100", "1000/1000", NULL};
	const char *const *sizes = all;
	struct plan plan = {.window = 64, .changes = 200, .restart = true, .instances = 1}, one;
	unsigned runs = 0;
	bool as_json = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 'w':
			plan.window = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			plan.changes = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'r':
			plan.rate = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 's':
			plan.stay = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'n':
			plan.restart = false;
			break;
		case 'd':
			plan.database = optarg;
			break;
		case 'i':
			plan.instances = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'j':
			as_json = true;
			break;
		default:
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	if (optind == argc || plan.window < 1 || plan.changes < 1 || plan.changes > 60000 ||
	    plan.rate > 1000 || (plan.database && optind + 2 != argc) || plan.instances < 1 ||
	    plan.instances > MAX_INSTANCES || (plan.instances > 1 && !plan.database)) {
		fputs(usage, stderr);
		return 2;
	}
	if (optind + 1 < argc)
		sizes = (const char *const *)argv + optind + 1;
	secret_init();
	raise_limits();
	for (; *sizes && runs < MAX_RUNS; sizes++) {
		one = plan;
		if (!parse_size(&one, *sizes)) {
			fprintf(stderr, "bench: %s is not AGENTS or AGENTS/PER_NETWORK\n", *sizes);
			return 2;
		}
		if (!one.rate)
			one.rate = MIN(MAX(5000 / one.per_network, 1), 1000);
		if (bench_run(argv[optind], runs++, &one))
			return 1;
	}
	if (as_json)
		figures_print_json(runs);
	else
		figures_print(runs);
	return faults() ? 1 : 0;
}
