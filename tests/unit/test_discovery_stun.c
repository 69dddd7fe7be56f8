/*
 * test_discovery_stun.c - discovery-stun against modelled servers behind modelled NATs, in virtual
 * time. The NAT is a table of mappings and of what was sent to whom; the "poison" NAT gives away the
 * port for a remote address from which an unasked packet came first, as Linux routers do.
 */
#include "../../plugins/discovery-stun.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- virtual time --------------------------------------------------------------------- */

struct wgm_timer {
	struct wgm_timer *next;
	uint64_t due;
	wgm_timer_fn *fn;
	void *arg;
};

static struct wgm_timer *timers;
static uint64_t now;

static struct wgm_timer *fake_after(struct wgm_host *host, uint64_t ms, wgm_timer_fn *fn, void *arg)
{
	struct wgm_timer *timer = xcalloc(1, sizeof(*timer)), **at = &timers;

	(void)host;
	*timer = (struct wgm_timer){NULL, now + ms, fn, arg};
	while (*at && (*at)->due <= timer->due)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
	return timer;
}

static void fake_cancel(struct wgm_host *host, struct wgm_timer *timer)
{
	(void)host;
	if (!timer)
		return;
	for (struct wgm_timer **at = &timers; *at; at = &(*at)->next)
		if (*at == timer) {
			*at = timer->next;
			free(timer);
			return;
		}
	fail_msg("a timer was cancelled that is not running");
}

static void run_for(uint64_t ms)
{
	uint64_t end = now + ms;

	while (timers && timers->due <= end) {
		struct wgm_timer timer = *timers;

		now = timer.due;
		free(timers);
		timers = timer.next;
		timer.fn(timer.arg);
	}
	now = end;
}

/* ---- the world -------------------------------------------------------------------------- */

enum server_kind { DEAD, PLAIN, FULL, IGNORES_CHANGE, REFUSES_CHANGE, OTHER_DEAD, OTHER_PORT_ONLY };

struct scene {
	const char *name;
	uint32_t nat_mapping, nat_filtering; /* 0 mapping: no NAT; 0 filtering: as mapping none, open */
	bool poison, varying;                /* varying: each server is seen from another port, once */
	enum server_kind servers[3];         /* 192.0.2.1, .11, .21; DEAD ends */
	unsigned server_count;
	bool drop_all;
	/* expected */
	uint32_t mapping, filtering;
	bool blocked;
	const char *best; /* NULL: none */
};

static const struct scene *scene;
static struct stun *stun;
static bool unplugged;    /* nothing passes */
static uint16_t first_port; /* of the NAT's mappings */
static const char *public_address;

static struct {
	struct endpoint to;
	uint16_t port;
} mappings[32];
static unsigned mapping_count;
static struct endpoint opened[64];
static unsigned opened_count;
static struct endpoint poisoned[16];
static unsigned poisoned_count;

/* news */
static struct wgm_candidate found[16];
static size_t found_count;
static struct wgm_nat told;
static unsigned founds, requests_sent;
static uint64_t first_found_at;

static struct endpoint ep(const char *text)
{
	struct endpoint endpoint;

	assert_true(endpoint_parse(&endpoint, text));
	return endpoint;
}

static bool same_for(uint32_t behaviour, const struct endpoint *a, const struct endpoint *b)
{
	if (behaviour == WGM_NAT_ADDRESS_DEPENDENT)
		return addr_equal(&a->addr, &b->addr);
	if (behaviour == WGM_NAT_ADDRESS_AND_PORT_DEPENDENT)
		return endpoint_equal(a, b);
	return true;
}

/* Our endpoint as `to` sees it. */
static struct endpoint map_out(const struct endpoint *to)
{
	struct endpoint out;

	if (to->addr.family == AF_INET6)
		return ep("[2001:db8::2]:51820");
	if (!scene->nat_mapping)
		return ep("198.51.100.2:51820");
	out = ep("203.0.113.1:1");
	addr_parse(&out.addr, public_address);
	for (unsigned i = 0; i < poisoned_count; i++)
		if (endpoint_equal(&poisoned[i], to)) {
			out.port = (uint16_t)(5000 + i);
			return out;
		}
	for (unsigned i = 0; i < mapping_count; i++)
		if (same_for(scene->varying ? WGM_NAT_ADDRESS_AND_PORT_DEPENDENT : scene->nat_mapping,
			     &mappings[i].to, to)) {
			out.port = mappings[i].port;
			return out;
		}
	out.port = (uint16_t)(first_port + 11 * mapping_count);
	mappings[mapping_count].to = *to;
	mappings[mapping_count++].port = out.port;
	return out;
}

static bool comes_in(const struct endpoint *from)
{
	if (!scene->nat_filtering || scene->nat_filtering == WGM_NAT_ENDPOINT_INDEPENDENT)
		return true;
	for (unsigned i = 0; i < opened_count; i++)
		if (same_for(scene->nat_filtering, &opened[i], from))
			return true;
	if (scene->poison)
		poisoned[poisoned_count++] = *from;
	return false;
}

struct flight {
	struct endpoint from;
	size_t len;
	uint8_t data[256];
};

static void land(void *arg)
{
	struct flight *flight = arg;
	union wgm_addr from;

	if (!unplugged && comes_in(&flight->from)) {
		to_wgm(&flight->from, &from);
		stun_packet(stun, &from, flight->data, flight->len);
	}
	free(flight);
}

/* 192.0.2.N is server N / 10, its other address 198.18.0.N; ports 3478 and 3479. */
static int server_of(const struct endpoint *to, bool *other)
{
	if (to->addr.family == AF_INET6)
		return to->addr.bytes[15] == 1 ? 0 : -1;
	*other = to->addr.bytes[0] == 198;
	return to->addr.bytes[3] / 10;
}

static void serve(const struct endpoint *to, const uint8_t *data, size_t len)
{
	struct flight *flight = xcalloc(1, sizeof(*flight));
	struct endpoint mapped = map_out(to), other_address;
	struct stun_message m;
	struct stun_writer w;
	bool other = false;
	int index = server_of(to, &other);
	enum server_kind kind = index >= 0 ? scene->servers[index] : DEAD;

	assert_int_equal(stun_parse(&m, data, len), 0);
	flight->from = *to;
	if (kind == DEAD || (kind == PLAIN && (other || to->port != 3478)) || (kind == OTHER_DEAD && other) ||
	    (kind == OTHER_DEAD && m.change)) {
		free(flight);
		return;
	}
	if (m.change && kind != IGNORES_CHANGE && kind != REFUSES_CHANGE) {
		if (m.change & STUN_CHANGE_IP)
			flight->from.addr.bytes[0] = 198, flight->from.addr.bytes[1] = 18,
			flight->from.addr.bytes[2] = 0;
		if (m.change & STUN_CHANGE_PORT)
			flight->from.port = 3479;
	}
	stun_begin(&w, flight->data, sizeof(flight->data),
		   m.change && kind == REFUSES_CHANGE ? STUN_ERROR : STUN_SUCCESS, m.txid);
	if (m.change && kind == REFUSES_CHANGE)
		stun_put_error(&w, 420, "Unknown Attribute");
	else
		stun_put_mapped(&w, &mapped);
	other_address = *to;
	other_address.port = 3479;
	if (to->addr.family == AF_INET && kind != OTHER_PORT_ONLY) {
		other_address.addr.bytes[0] = 198;
		other_address.addr.bytes[1] = 18;
		other_address.addr.bytes[2] = 0;
	}
	if (kind >= FULL)
		stun_put_endpoint(&w, STUN_OTHER_ADDRESS, &other_address);
	flight->len = stun_finish(&w);
	assert_true(flight->len > 0);
	fake_after(NULL, 20, land, flight);
}

static int fake_port_send(struct wgm_host *host, const union wgm_addr *to, const void *data, size_t len)
{
	struct endpoint endpoint;

	(void)host;
	assert_true(endpoint_from_sockaddr(&endpoint, &to->sa));
	requests_sent++;
	if (endpoint.addr.family == AF_INET6 && !strstr(scene->name, "IPv6"))
		return -ENETUNREACH;
	map_out(&endpoint);
	opened[opened_count++ % 64] = endpoint;
	if (opened_count > 64)
		opened_count = 64;
	if (!scene->drop_all && !unplugged)
		serve(&endpoint, data, len);
	return 0;
}

static const char *fake_stun_server(struct wgm_host *host, unsigned index)
{
	static const char *const names[] = {"192.0.2.1:3478", "192.0.2.11:3478", "192.0.2.21:3478"};

	(void)host;
	if (index == scene->server_count && strstr(scene->name, "IPv6"))
		return "[2001:db8:5::1]:3478";
	return index < scene->server_count ? names[index] : NULL;
}

static unsigned fake_option_count(struct wgm_host *host, const char *option)
{
	(void)host;
	return strcmp(option, "keepalive") == 0;
}

static int64_t fake_option_int(struct wgm_host *host, const char *option, unsigned index)
{
	(void)host;
	(void)index;
	return strcmp(option, "keepalive") ? 0 : 20000;
}

static uint64_t fake_now(struct wgm_host *host)
{
	(void)host;
	return now;
}

static uint16_t fake_port(struct wgm_host *host)
{
	(void)host;
	return 51820;
}

static const char *own_address = "198.51.100.2";

static size_t fake_local_addresses(struct wgm_host *host, union wgm_addr *addrs, size_t max)
{
	struct endpoint at = {.port = 0};

	(void)host;
	(void)max;
	addr_parse(&at.addr, scene->nat_mapping ? "192.168.1.2" : own_address);
	to_wgm(&at, &addrs[0]);
	return 1;
}

static void fake_found(struct wgm_host *host, const struct wgm_candidate *candidates, size_t count)
{
	(void)host;
	assert_true(count <= ARRAY_SIZE(found));
	if (count)
		memcpy(found, candidates, count * sizeof(*candidates));
	found_count = count;
	if (!founds++)
		first_found_at = now;
}

static void fake_nat(struct wgm_host *host, const struct wgm_nat *nat)
{
	(void)host;
	told = *nat;
}

static struct wgm_host fake = {
	.size = sizeof(fake),
	.major = WGM_ABI_MAJOR,
	.option_count = fake_option_count,
	.option_int = fake_option_int,
	.now_ms = fake_now,
	.after = fake_after,
	.cancel = fake_cancel,
	.port = fake_port,
	.port_send = fake_port_send,
	.stun_server = fake_stun_server,
	.local_addresses = fake_local_addresses,
	.found = fake_found,
	.nat = fake_nat,
};

static void scene_open(const struct scene *s)
{
	void *self;

	scene = s;
	now = 1000;
	unplugged = false;
	first_port = 40000;
	public_address = "203.0.113.1";
	mapping_count = opened_count = poisoned_count = 0;
	found_count = 0;
	founds = requests_sent = 0;
	told = (struct wgm_nat){0};
	assert_int_equal(wgm_plugin.open(&fake, &self), 0);
	stun = self;
	assert_int_equal(stun_refresh(stun), 0);
}

static void drop_timers(void)
{
	while (timers) {
		struct wgm_timer *timer = timers;

		timers = timer->next;
		if (timer->fn == land)
			free(timer->arg);
		free(timer);
	}
}

static void scene_close(void)
{
	drop_timers();
	wgm_plugin.close(stun);
}

static const char *best_text(void)
{
	static char text[ENDPOINT_TEXT];
	struct endpoint endpoint;

	if (!found_count)
		return "none";
	endpoint_from_sockaddr(&endpoint, &found[0].addr.sa);
	endpoint_format(text, &endpoint);
	return text;
}

#define EI WGM_NAT_ENDPOINT_INDEPENDENT
#define AD WGM_NAT_ADDRESS_DEPENDENT
#define AP WGM_NAT_ADDRESS_AND_PORT_DEPENDENT
#define NO WGM_NAT_NONE
#define NATTED "203.0.113.1:40000"

static const struct scene scenes[] = {
	{"no NAT", 0, 0, .servers = {FULL}, .server_count = 1, .mapping = NO, .filtering = EI,
	 .best = "198.51.100.2:51820"},
	{"no NAT, firewall", 0, AP, .servers = {FULL}, .server_count = 1, .mapping = NO, .filtering = AP,
	 .best = "198.51.100.2:51820"},
	{"no NAT, one address", 0, 0, .servers = {PLAIN}, .server_count = 1, .mapping = NO,
	 .best = "198.51.100.2:51820"},
	{"full cone", EI, EI, .servers = {FULL}, .server_count = 1, .mapping = EI, .filtering = EI, .best = NATTED},
	{"restricted", EI, AD, .servers = {FULL}, .server_count = 1, .mapping = EI, .filtering = AD, .best = NATTED},
	{"port restricted", EI, AP, .servers = {FULL}, .server_count = 1, .mapping = EI, .filtering = AP,
	 .best = NATTED},
	{"port restricted, poisoned", EI, AP, .poison = true, .servers = {FULL}, .server_count = 1,
	 .mapping = EI, .filtering = AP, .best = NATTED},
	{"symmetric", AP, AP, .servers = {FULL}, .server_count = 1, .mapping = AP, .filtering = AP, .best = NATTED},
	{"symmetric, open", AP, EI, .servers = {FULL}, .server_count = 1, .mapping = AP, .filtering = EI,
	 .best = NATTED},
	{"address dependent", AD, AD, .servers = {FULL}, .server_count = 1, .mapping = AD, .filtering = AD,
	 .best = NATTED},
	{"single address, NAT", EI, AP, .servers = {PLAIN}, .server_count = 1, .best = NATTED},
	{"two servers, cone", EI, AP, .servers = {PLAIN, PLAIN}, .server_count = 2, .mapping = EI, .best = NATTED},
	{"two servers, symmetric", AP, AP, .servers = {PLAIN, PLAIN}, .server_count = 2, .mapping = AP,
	 .best = NATTED},
	{"two servers, varying", EI, AP, .varying = true, .servers = {PLAIN, PLAIN}, .server_count = 2,
	 .mapping = AP, .best = NATTED},
	{"first server dead", EI, AD, .servers = {DEAD, FULL}, .server_count = 2, .mapping = EI,
	 .filtering = AD, .best = NATTED},
	{"ignores CHANGE-REQUEST", EI, AP, .servers = {IGNORES_CHANGE}, .server_count = 1, .mapping = EI,
	 .best = NATTED},
	{"refuses CHANGE-REQUEST", EI, AP, .servers = {REFUSES_CHANGE}, .server_count = 1, .mapping = EI,
	 .best = NATTED},
	{"other address is dead", EI, AP, .servers = {OTHER_DEAD}, .server_count = 1, .best = NATTED},
	{"other port only", EI, AP, .servers = {OTHER_PORT_ONLY}, .server_count = 1, .best = NATTED},
	{"blocked", EI, AP, .drop_all = true, .servers = {FULL}, .server_count = 1, .blocked = true},
	{"server dead", EI, AP, .servers = {DEAD}, .server_count = 1, .blocked = true},
	{"no server", EI, AP, .server_count = 0},
	{"IPv6 too", EI, AP, .servers = {FULL}, .server_count = 1, .mapping = EI, .filtering = AP, .best = NATTED},
};

static void test_scenes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		const struct scene *s = &scenes[i];

		scene_open(s);
		run_for(14000);
		assert_int_equal(told.mapping, s->mapping);
		assert_int_equal(told.filtering, s->filtering);
		assert_int_equal(told.udp_blocked, s->blocked);
		assert_string_equal(best_text(), s->best ? s->best : "none");
		assert_true(!found_count || found[0].type == WGM_SERVER_REFLEXIVE);
		if (s->best && s->servers[0] != DEAD) /* one round trip: nothing waits for the tests */
			assert_int_equal(first_found_at, 1020);
		assert_true(requests_sent < 24);
		scene_close();
	}
}

static const struct scene cone = {"cone", EI, AP, .servers = {FULL}, .server_count = 1};

static void test_keepalive_is_cheap_and_sees_a_change(void **state)
{
	unsigned before;

	(void)state;
	scene_open(&cone);
	run_for(10000);
	before = requests_sent;
	run_for(250000);
	assert_in_range(requests_sent - before, 10, 13); /* one every 20 to 25 s */
	mapping_count = opened_count = 0;		 /* the router was restarted */
	first_port = 50000;
	run_for(40000);
	assert_string_equal(best_text(), "203.0.113.1:50000");
	assert_int_equal(told.mapping, EI);
	assert_int_equal(told.filtering, AP);
	scene_close();
}

/* The server goes away: what was found stays. It comes back: nothing has changed. */
static void test_losing_the_server(void **state)
{
	(void)state;
	scene_open(&cone);
	run_for(10000);
	unplugged = true;
	run_for(300000);
	assert_string_equal(best_text(), NATTED);
	assert_false(told.udp_blocked);
	assert_int_equal(told.mapping, EI);
	unplugged = false;
	run_for(100000);
	assert_string_equal(best_text(), NATTED);
	assert_int_equal(told.filtering, AP);
	scene_close();
}

/* Another network that lets nothing through: the old endpoint is withdrawn. */
static void test_moving_to_a_closed_network(void **state)
{
	static const struct scene open = {"open", 0, 0, .servers = {FULL}, .server_count = 1};

	(void)state;
	scene_open(&open);
	run_for(10000);
	assert_int_equal(found_count, 1);
	own_address = "198.51.100.77";
	unplugged = true;
	stun_refresh(stun);
	run_for(15000);
	assert_int_equal(found_count, 0);
	assert_true(told.udp_blocked);
	own_address = "198.51.100.2";
	scene_close();
}

/* Refreshing all the time (failing connection attempts) neither floods nor keeps a test from its end. */
static void test_impatience(void **state)
{
	(void)state;
	scene_open(&cone);
	for (int i = 0; i < 60; i++) {
		run_for(500);
		stun_refresh(stun);
	}
	assert_int_equal(told.mapping, EI);
	assert_int_equal(told.filtering, AP);
	assert_true(requests_sent < 80);
	scene_close();
}

static void test_servers_change(void **state)
{
	static const struct scene none = {"none", EI, AP, .server_count = 0};
	static const struct scene two = {"two", EI, AP, .servers = {PLAIN, PLAIN}, .server_count = 2};

	(void)state;
	scene_open(&none);
	run_for(5000);
	assert_int_equal(requests_sent, 0);
	scene = &two;
	stun_servers_changed(stun);
	run_for(5000);
	assert_string_equal(best_text(), NATTED);
	assert_int_equal(told.mapping, EI);
	scene_close();
}

/* Answers that nobody asked for, or from elsewhere, move nothing. */
static void test_forged_answers(void **state)
{
	struct endpoint evil = ep("203.0.113.66:3478"), lie = ep("198.51.100.66:666");
	uint8_t data[128];
	struct stun_writer w;
	union wgm_addr from;

	(void)state;
	scene_open(&cone);
	to_wgm(&evil, &from);
	stun_begin(&w, data, sizeof(data), STUN_SUCCESS, stun->families[0].requests[0].txid);
	stun_put_mapped(&w, &lie);
	stun_packet(stun, &from, data, stun_finish(&w));
	assert_int_equal(found_count, 0);
	stun_begin(&w, data, sizeof(data), STUN_SUCCESS, (const uint8_t *)"nobody asked");
	stun_put_mapped(&w, &lie);
	evil = ep("192.0.2.1:3478");
	to_wgm(&evil, &from);
	stun_packet(stun, &from, data, stun_finish(&w));
	stun_packet(stun, &from, "rubbish", 7);
	assert_int_equal(found_count, 0);
	run_for(10000);
	assert_string_equal(best_text(), NATTED);
	scene_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scenes),
		cmocka_unit_test(test_keepalive_is_cheap_and_sees_a_change),
		cmocka_unit_test(test_losing_the_server),
		cmocka_unit_test(test_moving_to_a_closed_network),
		cmocka_unit_test(test_impatience),
		cmocka_unit_test(test_servers_change),
		cmocka_unit_test(test_forged_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
