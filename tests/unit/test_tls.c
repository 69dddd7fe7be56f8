#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/tls.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char directory[] = "/tmp/wg-mesh-test-tls.XXXXXX";
static const char *const names[] = {"localhost", NULL};

static int enter(void **state)
{
	char error[200];

	(void)state;
	return !mkdtemp(directory) || chdir(directory) < 0 ||
	       tls_make_certificate("ec.crt", "ec.key", names, error, sizeof(error));
}

static int leave(void **state)
{
	(void)state;
	unlink("ec.crt");
	unlink("ec.key");
	unlink("other.key");
	unlink("fifo");
	return chdir("/") < 0 || rmdir(directory) < 0;
}

static void write_key(const char *type, const char *passphrase)
{
	EVP_PKEY *key = !strcmp(type, "RSA") ? EVP_PKEY_Q_keygen(NULL, NULL, type, (size_t)2048)
			: !strcmp(type, "EC") ? EVP_EC_gen("P-256")
					      : EVP_PKEY_Q_keygen(NULL, NULL, type);
	FILE *file = fopen("other.key", "w");

	assert_int_equal(PEM_write_PrivateKey(file, key, passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
					      (void *)passphrase), 1);
	fclose(file);
	EVP_PKEY_free(key);
}

static void refused(struct tls_server *tls, const char *key, const char *word)
{
	char error[400] = "", before[44], after[44];

	assert_null(tls_server_new("ec.crt", key, error, sizeof(error)));
	assert_non_null(strstr(error, word));
	tls_server_pin(tls, before);
	error[0] = '\0';
	assert_int_equal(tls_server_reload(tls, "ec.crt", key, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, word));
	tls_server_pin(tls, after);
	assert_string_equal(before, after);
}

/* Of another algorithm too: OpenSSL takes that, and then has no certificate for it. */
static void keys_of_others(void **state)
{
	static const char *const types[] = {"EC", "RSA", "ED25519"};
	char error[400];
	struct tls_server *tls = tls_server_new("ec.crt", "ec.key", error, sizeof(error));

	(void)state;
	assert_non_null(tls);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		write_key(types[i], NULL);
		refused(tls, "other.key", "other.key is not that of the first certificate in ec.crt");
	}
	refused(tls, "none.key", "none.key cannot be opened: No such file");
	refused(tls, "ec.crt", "ec.crt cannot be used as a private key");
	tls_server_free(tls);
}

static void dates_of_our_own(void **state)
{
	char error[400];
	struct tls_server *tls = tls_server_new("ec.crt", "ec.key", error, sizeof(error));
	int64_t from, until;

	(void)state;
	tls_server_dates(tls, &from, &until);
	assert_in_range(from, 24 * 3600, (int64_t)time(NULL) - 1);
	assert_in_range(until - from, 3653 * 24 * 3600, 3653 * 24 * 3600 + 60); /* two readings of the clock */
	tls_server_free(tls);
}

static void passphrases_are_not_asked_for(void **state)
{
	char error[400];
	struct tls_server *tls = tls_server_new("ec.crt", "ec.key", error, sizeof(error));

	(void)state;
	write_key("EC", "secret");
	refused(tls, "other.key", "other.key has a passphrase");
	tls_server_free(tls);
}

static void pipes_are_not_waited_for(void **state)
{
	char error[400];
	struct tls_server *tls = tls_server_new("ec.crt", "ec.key", error, sizeof(error));

	(void)state;
	alarm(20);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	refused(tls, "fifo", "fifo cannot be opened: it is not a regular file");
	assert_null(tls_server_new("fifo", "ec.key", error, sizeof(error)));
	assert_non_null(strstr(error, "the certificate fifo cannot be opened: it is not a regular file"));
	unlink("fifo");
	alarm(0);
	tls_server_free(tls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_of_others),
		cmocka_unit_test(dates_of_our_own),
		cmocka_unit_test(passphrases_are_not_asked_for),
		cmocka_unit_test(pipes_are_not_waited_for),
	};

	return cmocka_run_group_tests_name("tls", tests, enter, leave);
}
