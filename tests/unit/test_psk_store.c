/*
 * The file of preshared keys: what was kept comes back; what is damaged is nothing at all; nobody else
 * may read it.
 */
#include "psk_store.h"

#include "lib/file.h"
#include "lib/secret.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char path[] = "/tmp/wg-mesh-psk-XXXXXX";

static int make(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	return close(fd);
}

static int unmake(void **state)
{
	(void)state;
	return unlink(path);
}

static struct key numbered(uint64_t number)
{
	struct key key = {{9}};

	memcpy(key.bytes + 8, &number, sizeof(number));
	return key;
}

static struct psk some(uint64_t i)
{
	struct psk psk = {.highest = (uint64_t)PSK_EPOCH_MAX - i, .state = i % (PSK_CONFIRMED + 1)};

	psk.now.epoch = i;
	psk.ours = i & 1;
	if (i % 3)
		psk.now.key = numbered(1000 + i);
	if (i % 3 == 2) /* any bytes; not only what a public key may be */
		memset(&psk.now.key, 0xff, KEY_LEN);
	if (psk.state) {
		psk.next.epoch = i + 1;
		if (i % 5)
			psk.next.key = numbered(2000 + i);
	}
	return psk;
}

static bool is_odd(void *arg, const struct psk_entry *entry)
{
	(void)arg;
	return entry->psk.now.epoch & 1;
}

static void test_round_trip(void **state)
{
	struct map *entries = map_new(KEY_LEN), *back;
	struct psk_entry *entry;
	struct stat st;
	struct key key;

	(void)state;
	for (uint64_t i = 1; i <= 1000; i++) {
		key = numbered(i);
		psk_entry_of(entries, &key)->psk = some(i);
	}
	key = numbered(5000);
	psk_entry_of(entries, &key); /* says nothing */
	assert_int_equal(psk_save(entries, path, NULL, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(psk_load(&back, path), 0);
	assert_int_equal(map_count(back), 1000);
	for (uint64_t i = 1; i <= 1000; i++) {
		struct psk expect = some(i);

		key = numbered(i);
		entry = map_get(back, key.bytes);
		assert_non_null(entry);
		assert_memory_equal(&entry->psk, &expect, sizeof(expect));
		assert_false(entry->begun || entry->to_send || entry->users);
	}
	psk_free(back);
	assert_int_equal(psk_save(entries, path, is_odd, NULL), 0);
	assert_int_equal(psk_load(&back, path), 0);
	assert_int_equal(map_count(back), 500);
	key = numbered(2);
	psk_entry_remove(back, &key);
	psk_entry_remove(back, &key);
	assert_int_equal(map_count(back), 499);
	psk_free(back);
	psk_free(entries);
}

static void test_damaged(void **state)
{
#define ONE "{\"schema\":1,\"peers\":[{\"public_key\":\"CQAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\","
#define NONE "{\"epoch\":0,\"key\":null}"
	static const char *const texts[] = {
		"",
		"[]",
		"{\"schema\":1}",
		ONE "\"highest\":1}]}",
		ONE "\"highest\":1,\"state\":\"asleep\",\"ours\":false,\"now\":" NONE ",\"next\":" NONE "}]}",
		ONE "\"highest\":-1,\"state\":\"idle\",\"ours\":false,\"now\":" NONE ",\"next\":" NONE "}]}",
		ONE "\"highest\":1,\"state\":\"held\",\"ours\":false,\"now\":" NONE ",\"next\":" NONE "}]}",
		ONE "\"highest\":1,\"state\":\"idle\",\"ours\":false,\"now\":" NONE "}]}",
		ONE "\"highest\":1,\"state\":\"idle\",\"ours\":false,\"now\":{\"epoch\":1,\"key\":\"x\"},"
		    "\"next\":" NONE "}]}",
	};
	struct map *entries;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(file_write_atomic(path, texts[i], strlen(texts[i]), 0600), 0);
		if (psk_load(&entries, path) != -EBADMSG || map_count(entries))
			fail_msg("%s was taken", texts[i]);
		psk_free(entries);
	}
	assert_int_equal(psk_load(&entries, "/nowhere/at/all.psk"), 0);
	assert_int_equal(map_count(entries), 0);
	psk_free(entries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_damaged),
	};

	secret_init();
	return cmocka_run_group_tests(tests, make, unmake);
}
