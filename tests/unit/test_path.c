/*
 * path_decide and the endpoint etiquette, case by case; and that of two ends only one ever changes
 * a path that works, whatever they measure.
 */
#include "path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NOW 1000000u

struct row {
	const char *what;
	bool controller, has_endpoint, ours;
	int current;
	uint64_t handshake_ms, rx_ms, changed_ms;
	struct path_candidate c[2];
	enum path_kind path;
	int use;
};

#define ANSWERED(ms_ago, rtt)                                                                      \
	{                                                                                          \
		.answered_ms = NOW - (ms_ago), .rtt_ms = (rtt)                                     \
	}
#define LOCAL(ms_ago, rtt)                                                                         \
	{                                                                                          \
		.answered_ms = NOW - (ms_ago), .rtt_ms = (rtt), .local = true                      \
	}
#define SILENT                                                                                     \
	{                                                                                          \
		.rtt_ms = -1                                                                       \
	}
#define LOST(since)                                                                                \
	{                                                                                          \
		.answered_ms = NOW - 20000, .rtt_ms = 5, .unanswered = 3,                          \
		.silent_since_ms = NOW - (since)                                                   \
	}

static const struct row rows[] = {
	{"nothing heard", .current = -1, .c = {SILENT, SILENT}, .path = PATH_NONE, .use = -1},
	{"first answer", .current = -1, .c = {SILENT, ANSWERED(0, 9)}, .path = PATH_DIRECT,
	 .use = 1},
	{"first answer, also for the end that does not control", .controller = false, .current = -1,
	 .c = {ANSWERED(0, 9), SILENT}, .path = PATH_DIRECT, .use = 0},
	{"an old answer is no reason to move", .current = -1, .c = {ANSWERED(11000, 9), SILENT},
	 .path = PATH_NONE, .use = -1},
	{"an endpoint alone proves nothing", .has_endpoint = true, .ours = true, .current = 0,
	 .c = {SILENT, SILENT}, .path = PATH_NONE, .use = -1},
	{"proven by an answer", .has_endpoint = true, .ours = true, .current = 0,
	 .c = {ANSWERED(60000, 9), SILENT}, .path = PATH_DIRECT, .use = -1},
	{"proof too old", .has_endpoint = true, .ours = true, .current = 0,
	 .c = {ANSWERED(66000, 9), SILENT}, .path = PATH_NONE, .use = -1},
	{"proven by a session that receives", .has_endpoint = true, .current = -1,
	 .handshake_ms = NOW - 100000, .rx_ms = NOW - 20000, .c = {SILENT, SILENT},
	 .path = PATH_DIRECT, .use = -1},
	{"a session that is too old", .has_endpoint = true, .current = -1,
	 .handshake_ms = NOW - 181000, .rx_ms = NOW - 20000, .c = {SILENT, SILENT},
	 .path = PATH_NONE, .use = -1},
	{"a foreign endpoint that works is not touched", .controller = true, .has_endpoint = true,
	 .current = -1, .handshake_ms = NOW - 1000, .rx_ms = NOW - 1000,
	 .c = {LOCAL(0, 0.1), SILENT}, .path = PATH_DIRECT, .use = -1},
	{"a foreign endpoint that is dead is replaced", .has_endpoint = true, .current = -1,
	 .handshake_ms = NOW - 181000, .rx_ms = NOW - 181000, .c = {ANSWERED(0, 9), SILENT},
	 .path = PATH_DIRECT, .use = 0},
	{"lost: unanswered and nothing received", .has_endpoint = true, .ours = true, .current = 0,
	 .handshake_ms = NOW - 5000, .rx_ms = NOW - 4000, .c = {LOST(2000), SILENT},
	 .path = PATH_NONE, .use = -1},
	{"lost, and another answers", .has_endpoint = true, .ours = true, .current = 0,
	 .handshake_ms = NOW - 5000, .rx_ms = NOW - 4000, .changed_ms = NOW - 500,
	 .c = {LOST(2000), ANSWERED(0, 50)}, .path = PATH_DIRECT, .use = 1},
	{"probes filtered, packets pass", .has_endpoint = true, .ours = true, .current = 0,
	 .handshake_ms = NOW - 5000, .rx_ms = NOW - 100, .c = {LOST(2000), SILENT},
	 .path = PATH_DIRECT, .use = -1},
	{"the controller takes the LAN", .controller = true, .has_endpoint = true, .ours = true,
	 .current = 0, .changed_ms = NOW - 3000, .c = {ANSWERED(0, 9), LOCAL(0, 0.2)},
	 .path = PATH_DIRECT, .use = 1},
	{"the other end does not", .has_endpoint = true, .ours = true, .current = 0,
	 .changed_ms = NOW - 3000, .c = {ANSWERED(0, 9), LOCAL(0, 0.2)}, .path = PATH_DIRECT,
	 .use = -1},
	{"not within two seconds", .controller = true, .has_endpoint = true, .ours = true,
	 .current = 0, .changed_ms = NOW - 1000, .c = {ANSWERED(0, 9), LOCAL(0, 0.2)},
	 .path = PATH_DIRECT, .use = -1},
	{"a LAN that is slower than the world is none", .controller = true, .has_endpoint = true,
	 .ours = true, .current = 0, .changed_ms = NOW - 3000, .c = {ANSWERED(0, 9), LOCAL(0, 30)},
	 .path = PATH_DIRECT, .use = -1},
	{"lower latency after fifteen seconds", .controller = true, .has_endpoint = true,
	 .ours = true, .current = 0, .changed_ms = NOW - 16000,
	 .c = {ANSWERED(0, 30), ANSWERED(0, 10)}, .path = PATH_DIRECT, .use = 1},
	{"not before", .controller = true, .has_endpoint = true, .ours = true, .current = 0,
	 .changed_ms = NOW - 14000, .c = {ANSWERED(0, 30), ANSWERED(0, 10)}, .path = PATH_DIRECT,
	 .use = -1},
	{"a little lower is not worth it", .controller = true, .has_endpoint = true, .ours = true,
	 .current = 0, .changed_ms = NOW - 60000, .c = {ANSWERED(0, 30), ANSWERED(0, 27)},
	 .path = PATH_DIRECT, .use = -1},
	{"nor is a fifth of almost nothing", .controller = true, .has_endpoint = true, .ours = true,
	 .current = 0, .changed_ms = NOW - 60000, .c = {ANSWERED(0, 2), ANSWERED(0, 0.5)},
	 .path = PATH_DIRECT, .use = -1},
	{"of two answers at once the local one", .current = -1,
	 .c = {ANSWERED(0, 0.3), LOCAL(0, 0.4)}, .path = PATH_DIRECT, .use = 1},
};

static struct path_view view_of(const struct row *row)
{
	return (struct path_view){
		.now_ms = NOW,
		.controller = row->controller,
		.candidates = row->c,
		.count = 2,
		.has_endpoint = row->has_endpoint,
		.current = row->current,
		.ours = row->ours,
		.handshake_ms = row->handshake_ms,
		.rx_ms = row->rx_ms,
		.changed_ms = row->changed_ms,
	};
}

static void test_decide(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct path_view view = view_of(&rows[i]);
		struct path_decision d = path_decide(&view);

		if (d.path != rows[i].path || d.use != rows[i].use)
			fail_msg("%s: path %s use %d (%s)", rows[i].what, path_name(d.path), d.use,
				 d.reason);
		assert_non_null(d.reason);
	}
}

static uint32_t seed = 12345;

static uint32_t some(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

/* Whatever the numbers: who does not control never leaves a path that works, a working endpoint of
 * somebody else is never replaced, and nothing is touched in the two seconds after a change. */
static void test_etiquette(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 200000; n++) {
		struct path_candidate c[3];
		struct path_view view = {.now_ms = NOW,
					 .controller = some(2),
					 .candidates = c,
					 .count = 3,
					 .has_endpoint = some(4) > 0,
					 .ours = some(2)};
		struct path_decision d;
		bool working;

		for (unsigned i = 0; i < 3; i++)
			c[i] = (struct path_candidate){some(2), some(3) ? NOW - some(80000) : 0,
						       NOW - some(10000), some(5),
						       some(4) ? (double)some(50) : -1};
		view.current = (int)some(4) - 1;
		view.handshake_ms = some(2) ? NOW - some(200000) : 0;
		view.rx_ms = some(2) ? NOW - some(80000) : 0;
		view.changed_ms = some(2) ? NOW - some(20000) : 0;
		working = path_working(&view);
		d = path_decide(&view);
		if (working && (!view.controller || !view.ours))
			assert_int_equal(d.use, -1);
		if (working && view.changed_ms && NOW - view.changed_ms < PATH_SETTLE_MS)
			assert_int_equal(d.use, -1);
		if (working)
			assert_int_equal(d.path, PATH_DIRECT);
		if (d.use >= 0)
			assert_true(c[d.use].answered_ms &&
				    NOW - c[d.use].answered_ms <= PATH_FRESH_MS);
	}
}

static void test_device(void **state)
{
	static const struct {
		bool has_endpoint;
		uint64_t handshake_ms;
		enum path_kind path;
	} cases[] = {
		{true, NOW - 1000, PATH_DIRECT},
		{true, NOW - PATH_HANDSHAKE_MS, PATH_DIRECT},
		{true, NOW - PATH_HANDSHAKE_MS - 1, PATH_NONE},
		{true, 0, PATH_NONE},
		{false, NOW - 1000, PATH_NONE},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct path_view view = {.now_ms = NOW,
					 .current = -1,
					 .has_endpoint = cases[i].has_endpoint,
					 .handshake_ms = cases[i].handshake_ms};
		struct path_decision d = path_of_device(&view);

		assert_int_equal(d.path, cases[i].path);
		assert_int_equal(d.use, -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_decide),
					   cmocka_unit_test(test_etiquette),
					   cmocka_unit_test(test_device)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
