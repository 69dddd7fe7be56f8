/*
 * tls.h - OpenSSL for servers: one context, reloadable; a key and certificate made on the spot.
 * TLS 1.2 and 1.3; SSL_MODE_RELEASE_BUFFERS, no tickets, no session cache (measured: 14 KB an idle
 * connection instead of 23).
 */
#ifndef CORE_LIB_TLS_H
#define CORE_LIB_TLS_H

#include "util.h"
#include <sys/types.h>

struct tls_server;
struct tls_conn; /* one connection */

/* What stream.c drives, reached through the server's pointer so that a program without TLS links no
 * OpenSSL. Each returns bytes or 0, TLS_WANT_READ, TLS_WANT_WRITE, or another negative: broken. */
enum { TLS_WANT_READ = -10001, TLS_WANT_WRITE = -10002 };
struct tls_ops {
	struct tls_conn *(*accept)(struct tls_server *tls, int fd); /* borrows fd; NULL: no memory */
	int (*handshake)(struct tls_conn *conn);                    /* 0: done */
	ssize_t (*read)(struct tls_conn *conn, void *out, size_t len); /* 0: ended properly */
	ssize_t (*write)(struct tls_conn *conn, const void *data, size_t len);
	void (*shutdown)(struct tls_conn *conn); /* says goodbye if there is room for it */
	void (*free)(struct tls_conn *conn);
};

struct tls_server { /* private but for ops */
	const struct tls_ops *ops;
	struct ssl_ctx_st *context;
};

/* Reads PEM files. NULL and a sentence in error (size bytes). */
struct tls_server *tls_server_new(const char *cert_path, const char *key_path, char *error, size_t size);
void tls_server_free(struct tls_server *tls);
/* Swaps certificate and key for new connections; the old stay when the new ones are bad. */
int tls_server_reload(struct tls_server *tls, const char *cert_path, const char *key_path, char *error,
		      size_t size);
/* Of a PEM file, new (EVP_PKEY_free); NULL and a sentence, also where it has a passphrase: nobody is asked. */
struct evp_pkey_st *tls_read_key(const char *path, char *error, size_t size);
/* SHA-256 of the SubjectPublicKeyInfo, base64url, 43 characters: PIN of a join link. */
void tls_server_pin(const struct tls_server *tls, char pin[static 44]);

/* Of its certificate: seconds since 1970; 0 where one cannot be read. */
void tls_server_dates(const struct tls_server *tls, int64_t *from, int64_t *until);

/* Makes a P-256 key (0600) and a self-signed certificate for `names` (DNS names and addresses,
 * NULL-terminated), valid 10 years, where the files are not there. Renewing keeps the key. */
int tls_make_certificate(const char *cert_path, const char *key_path, const char *const *names,
			 char *error, size_t size);

#endif
