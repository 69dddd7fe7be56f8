#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/list.h"
#include "lib/map.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void strings(void **state)
{
	struct map *map = map_new(0);
	char name[32];
	int a, b;

	(void)state;
	assert_null(map_get(map, "nobody"));
	assert_null(map_del(map, "nobody"));
	strncpy(name, "alice", sizeof(name));
	assert_null(map_put(map, name, &a));
	strncpy(name, "bob", sizeof(name)); /* the key was copied */
	assert_ptr_equal(map_get(map, "alice"), &a);
	assert_null(map_get(map, "bob"));
	assert_ptr_equal(map_put(map, "alice", &b), &a);
	assert_ptr_equal(map_get(map, "alice"), &b);
	assert_int_equal(map_count(map), 1);
	assert_null(map_put(map, "", &a));
	assert_ptr_equal(map_get(map, ""), &a);
	assert_ptr_equal(map_del(map, "alice"), &b);
	assert_null(map_get(map, "alice"));
	assert_int_equal(map_count(map), 1);
	map_free(map);
	map_free(NULL);
}

static void bytes_with_zeroes(void **state)
{
	struct map *map = map_new(4);
	int a, b;

	(void)state;
	map_put(map, "\0\0\0\1", &a);
	map_put(map, "\0\0\0\2", &b);
	assert_ptr_equal(map_get(map, "\0\0\0\1"), &a);
	assert_ptr_equal(map_get(map, "\0\0\0\2"), &b);
	map_free(map);
}

/* Against a plain array: what is put, replaced and removed at random is what is found. */
static void against_an_array(void **state)
{
	static void *model[512];
	struct map *map = map_new(sizeof(unsigned));
	size_t count = 0;

	(void)state;
	srand(1);
	for (unsigned step = 0; step < 200000; step++) {
		unsigned key = (unsigned)rand() % ARRAY_SIZE(model);
		void *value = &model[rand() % 512], *old = model[key];

		if (rand() % 2) {
			assert_ptr_equal(map_put(map, &key, value), old);
			model[key] = value;
			count += !old;
		} else {
			assert_ptr_equal(map_del(map, &key), old);
			model[key] = NULL;
			count -= !!old;
		}
		assert_int_equal(map_count(map), count);
	}
	for (unsigned key = 0; key < ARRAY_SIZE(model); key++)
		assert_ptr_equal(map_get(map, &key), model[key]);
	map_free(map);
}

static void walk_sees_each_once(void **state)
{
	struct map *map = map_new(sizeof(unsigned));
	unsigned char seen[1000] = {0};
	const void *key;
	size_t pos = 0, count = 0;
	void *value;

	(void)state;
	assert_null(map_next(map, &pos, NULL));
	for (unsigned i = 0; i < 1000; i++)
		map_put(map, &i, &seen[i]);
	for (pos = 0; (value = map_next(map, &pos, &key)); count++) {
		unsigned i = *(const unsigned *)key;

		assert_ptr_equal(value, &seen[i]);
		assert_int_equal(seen[i]++, 0);
	}
	assert_int_equal(count, 1000);
	assert_null(map_next(map, &pos, NULL));
	map_free(map);
}

static void walk_may_delete(void **state)
{
	struct map *map = map_new(sizeof(unsigned));
	unsigned values[1000];
	const void *key;
	size_t pos = 0, count = 0;
	void *value;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		map_put(map, &i, &values[i]);
	while ((value = map_next(map, &pos, &key))) {
		count++;
		if (*(const unsigned *)key % 3)
			assert_ptr_equal(map_del(map, key), value);
	}
	assert_int_equal(count, 1000);
	assert_int_equal(map_count(map), 334);
	for (unsigned i = 0; i < 1000; i++)
		assert_ptr_equal(map_get(map, &i), i % 3 ? NULL : &values[i]);
	map_free(map);
}

struct member {
	int number;
	struct list node;
};

static void list_order_and_removal(void **state)
{
	struct member members[5], *member, *tmp;
	struct list head;
	int next = 0;

	(void)state;
	list_init(&head);
	assert_true(list_empty(&head));
	for (int i = 0; i < 5; i++) {
		members[i].number = i;
		list_add_tail(&head, &members[i].node);
	}
	list_each (member, &head, node)
		assert_int_equal(member->number, next++);
	assert_int_equal(next, 5);
	list_each_safe (member, tmp, &head, node) {
		if (member->number % 2 == 0) {
			list_del(&member->node);
			list_del(&member->node);
			memset(member, 0xff, sizeof(*member));
		}
	}
	next = 1;
	list_each (member, &head, node) {
		assert_int_equal(member->number, next);
		next += 2;
	}
	assert_int_equal(next, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings),          cmocka_unit_test(bytes_with_zeroes),
		cmocka_unit_test(against_an_array), cmocka_unit_test(walk_sees_each_once),
		cmocka_unit_test(walk_may_delete),  cmocka_unit_test(list_order_and_removal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
