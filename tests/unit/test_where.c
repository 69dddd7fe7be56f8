/* Endpoints, packed: what was put in comes out, for every count of them, and nothing of what was before. */
#include "coordinator/mesh/where.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct endpoint endpoint(unsigned number)
{
	return (struct endpoint){.addr = {.family = AF_INET, .bytes = {198, 51, 100, (uint8_t)number}},
				 .port = (uint16_t)(1000 + number), .scope_id = number};
}

static void fill(struct proto_endpoints *at, unsigned count, unsigned local_count)
{
	memset(at, 0, sizeof(*at));
	at->endpoint = endpoint(200);
	for (unsigned i = 0; i < count; i++)
		at->endpoints[i] = endpoint(i);
	for (unsigned i = 0; i < local_count; i++)
		at->local_endpoints[i] = endpoint(100 + i);
	at->count = count;
	at->local_count = local_count;
	at->nat_type = NAT_FULL_CONE;
	at->upnp_mapped = count & 1;
}

static void assert_same(const struct proto_endpoints *a, const struct proto_endpoints *b)
{
	assert_true(endpoint_equal(&a->endpoint, &b->endpoint));
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->local_count, b->local_count);
	assert_int_equal(a->nat_type, b->nat_type);
	assert_int_equal(a->upnp_mapped, b->upnp_mapped);
	for (unsigned i = 0; i < PROTO_MAX_ENDPOINTS; i++) { /* also those that are none */
		assert_true(endpoint_equal(&a->endpoints[i], &b->endpoints[i]));
		assert_true(endpoint_equal(&a->local_endpoints[i], &b->local_endpoints[i]));
	}
}

static void test_nothing_said(void **state)
{
	struct proto_endpoints at, none = {0};

	(void)state;
	fill(&at, 3, 3);
	where_get(NULL, &at);
	assert_same(&at, &none);
}

static void test_every_count(void **state)
{
	struct proto_endpoints in, out;
	struct where *where = NULL;

	(void)state;
	for (unsigned count = PROTO_MAX_ENDPOINTS + 1; count--;)
		for (unsigned local = 0; local <= PROTO_MAX_ENDPOINTS; local++) {
			fill(&in, count, local);
			where_set(&where, &in);
			where_get(where, &out);
			assert_same(&out, &in);
		}
	free(where);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_said),
		cmocka_unit_test(test_every_count),
	};

	return cmocka_run_group_tests_name("where", tests, NULL, NULL);
}
