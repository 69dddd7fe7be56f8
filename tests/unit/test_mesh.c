/* The maps of the mesh, where two have the same name for a moment: who goes takes only itself out of them. */
#include "coordinator/mesh/mesh.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct network *network(struct mesh *mesh, const char *id, const char *cidr)
{
	struct prefix range;

	assert_true(prefix_parse(&range, cidr));
	return mesh_network_add(mesh, id, "lab", &range, NULL);
}

static void test_same_name(void **state)
{
	struct network *refused, *other;
	struct mesh mesh;

	(void)state;
	mesh_init(&mesh);
	refused = network(&mesh, "n1", "10.201.0.0/16");
	other = network(&mesh, "n2", "10.200.0.0/16"); /* another coordinator's was there first */
	mesh_network_del(&mesh, refused);
	assert_ptr_equal(mesh_network(&mesh, "lab"), other);
	assert_ptr_equal(mesh_network(&mesh, "n2"), other);
	assert_null(mesh_network(&mesh, "n1"));
	mesh_network_del(&mesh, other);
	assert_null(mesh_network(&mesh, "lab"));
	mesh_fini(&mesh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_name)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
