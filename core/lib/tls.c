/*
 * tls.c - OpenSSL for servers, as step functions for stream.c.
 *
 * Tuned for thousands of idle connections: buffers are released between records, no session
 * cache, no tickets. Renegotiation is off, so that a read never has to write for longer than a key
 * update takes. A connection holds a reference to the context it began with: reloading
 * swaps the context and disturbs nobody.
 */
#include "tls.h"
#include "addr.h"
#include "file.h"
#include "seal.h"
#include "str.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEN_YEARS (3652L * 24 * 3600)
#define MAX_KEY   (64 * 1024)

static int PRINTF_LIKE(3, 4) fail(char *error, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, size, format, args);
	va_end(args);
	ERR_clear_error();
	return -EINVAL;
}

/* The last thing OpenSSL complained about. */
static const char *why(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason ? reason : "no reason given";
}

/* ---- connections ---------------------------------------------------------------- */

static struct tls_conn *conn_accept(struct tls_server *tls, int fd)
{
	SSL *ssl = SSL_new(tls->context);

	if (ssl && !SSL_set_fd(ssl, fd)) {
		SSL_free(ssl);
		return NULL;
	}
	return (struct tls_conn *)ssl;
}

static SSL *ssl_of(struct tls_conn *conn)
{
	return (SSL *)conn;
}

static int step_result(struct tls_conn *conn, int result)
{
	int error = SSL_get_error(ssl_of(conn), result);

	ERR_clear_error();
	switch (error) {
	case SSL_ERROR_WANT_READ:
		return TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return errno ? -errno : -ECONNRESET;
	default:
		return -EPROTO;
	}
}

/* SSL_get_error takes any error in the thread's queue for this connection's own, also one that
 * somebody else's use of OpenSSL has left there: so each step begins with an empty queue. */
static SSL *step(struct tls_conn *conn)
{
	ERR_clear_error();
	return ssl_of(conn);
}

static int conn_handshake(struct tls_conn *conn)
{
	int result = SSL_accept(step(conn));

	if (result == 1)
		return 0;
	result = step_result(conn, result);
	return result ? result : -EPROTO;
}

static ssize_t conn_read(struct tls_conn *conn, void *out, size_t len)
{
	size_t done;

	return SSL_read_ex(step(conn), out, len, &done) ? (ssize_t)done : step_result(conn, 0);
}

static ssize_t conn_write(struct tls_conn *conn, const void *data, size_t len)
{
	size_t done;
	int result;

	if (SSL_write_ex(step(conn), data, len, &done))
		return (ssize_t)done;
	result = step_result(conn, 0);
	return result ? result : -EPIPE;
}

static void conn_shutdown(struct tls_conn *conn)
{
	if (SSL_is_init_finished(ssl_of(conn)))
		SSL_shutdown(ssl_of(conn));
	ERR_clear_error();
}

static void conn_free(struct tls_conn *conn)
{
	SSL_free(ssl_of(conn));
}

static const struct tls_ops ops = {
	.accept = conn_accept,
	.handshake = conn_handshake,
	.read = conn_read,
	.write = conn_write,
	.shutdown = conn_shutdown,
	.free = conn_free,
};

/* ---- the server's context --------------------------------------------------------- */

static int choose_http(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		       const unsigned char *in, unsigned in_len, void *arg)
{
	static const unsigned char known[] = "\x08http/1.1";
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, out_len, known, sizeof(known) - 1, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* AES-128 first: it is good for all we know, and of what OpenSSL would take first a handshake hashes
 * with SHA-384, which processors do not help with. */
#define CIPHERS "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"

static void configure(SSL_CTX *context)
{
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_ciphersuites(context, CIPHERS);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					     SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_alpn_select_cb(context, choose_http, NULL);
}

/* OpenSSL would ask the terminal. */
static int no_passphrase(char *out, int size, int writing, void *wanted)
{
	(void)out;
	(void)size;
	(void)writing;
	if (wanted)
		*(bool *)wanted = true;
	return -1;
}

EVP_PKEY *tls_read_key(const char *path, char *error, size_t size)
{
	struct buf text = {.limit = MAX_KEY};
	int result = file_read(path, MAX_KEY, &text);
	bool encrypted = false;
	EVP_PKEY *key = NULL;
	BIO *bio;

	ERR_clear_error();
	if (result < 0) {
		fail(error, size, "the private key %s cannot be opened: %s", path, file_why(result));
		return NULL;
	}
	bio = BIO_new_mem_buf(buf_text(&text), (int)text.len);
	if (bio)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &encrypted);
	if (!key && encrypted)
		fail(error, size, "the private key %s has a passphrase, which nobody is asked for: write it without one "
		     "(openssl pkey -in OLD -out NEW)", path);
	else if (!key)
		fail(error, size, "%s cannot be used as a private key (PEM): %s", path, why());
	BIO_free(bio);
	buf_wipe(&text);
	return key;
}

/* To a context that has a certificate. */
static bool use_key(SSL_CTX *context, const char *cert_path, const char *key_path, char *error, size_t size)
{
	EVP_PKEY *key = tls_read_key(key_path, error, size);
	bool good = false;

	/* One of another algorithm would be taken, and a certificate to it be missing. */
	if (key && X509_check_private_key(SSL_CTX_get0_certificate(context), key) != 1)
		fail(error, size, "the private key %s is not that of the first certificate in %s: name two that belong "
		     "together; of a chain the server's own certificate comes first", key_path, cert_path);
	else if (key && SSL_CTX_use_PrivateKey(context, key) != 1)
		fail(error, size, "%s cannot be used as the private key of %s: %s", key_path, cert_path, why());
	else
		good = key;
	EVP_PKEY_free(key);
	return good;
}

static SSL_CTX *load(const char *cert_path, const char *key_path, char *error, size_t size)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	int file;

	ERR_clear_error();
	if (!context) {
		fail(error, size, "TLS cannot be set up: %s", why());
		return NULL;
	}
	configure(context);
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	file = file_open(cert_path);
	if (file < 0)
		fail(error, size, "the certificate %s cannot be opened: %s", cert_path, file_why(file));
	else if (SSL_CTX_use_certificate_chain_file(context, cert_path) != 1)
		fail(error, size, "%s cannot be used as a certificate (PEM): %s", cert_path, why());
	else if (use_key(context, cert_path, key_path, error, size))
		error = NULL;
	if (file >= 0)
		close(file);
	if (!error)
		return context;
	SSL_CTX_free(context);
	return NULL;
}

struct tls_server *tls_server_new(const char *cert_path, const char *key_path, char *error, size_t size)
{
	SSL_CTX *context = load(cert_path, key_path, error, size);
	struct tls_server *tls;

	if (!context)
		return NULL;
	tls = xcalloc(1, sizeof(*tls));
	tls->ops = &ops;
	tls->context = context;
	return tls;
}

void tls_server_free(struct tls_server *tls)
{
	if (!tls)
		return;
	SSL_CTX_free(tls->context);
	free(tls);
}

int tls_server_reload(struct tls_server *tls, const char *cert_path, const char *key_path, char *error,
		      size_t size)
{
	SSL_CTX *context = load(cert_path, key_path, error, size);

	if (!context)
		return -EINVAL;
	SSL_CTX_free(tls->context);
	tls->context = context;
	return 0;
}

void tls_server_pin(const struct tls_server *tls, char pin[static 44])
{
	unsigned char *der = NULL;
	uint8_t digest[32];
	char *text;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(SSL_CTX_get0_certificate(tls->context)), &der);

	if (len < 0) /* only without memory: the certificate has been read */
		abort();
	sha256(digest, der, (size_t)len);
	OPENSSL_free(der);
	text = base64url_encode(digest, sizeof(digest));
	str_copy(pin, 44, text);
	free(text);
}

static int64_t seconds_of(const ASN1_TIME *at)
{
	struct tm utc;

	return ASN1_TIME_to_tm(at, &utc) ? (int64_t)timegm(&utc) : 0;
}

void tls_server_dates(const struct tls_server *tls, int64_t *from, int64_t *until)
{
	const X509 *cert = SSL_CTX_get0_certificate(tls->context);

	*from = seconds_of(X509_get0_notBefore(cert));
	*until = seconds_of(X509_get0_notAfter(cert));
}

/* ---- a certificate of our own ------------------------------------------------------ */

/* Writes what is in `bio` to the file, and wipes it. */
static int write_bio(BIO *bio, const char *path, mode_t mode, char *error, size_t size)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	int result = file_write_atomic(path, data, (size_t)len, mode);

	OPENSSL_cleanse(data, (size_t)len);
	return result ? fail(error, size, "%s cannot be written: %s", path, strerror(-result)) : 0;
}

static EVP_PKEY *make_key(const char *path, char *error, size_t size)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	int result = -ENOMEM;

	if (key && bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		result = write_bio(bio, path, 0600, error, size);
	else
		fail(error, size, "a key cannot be made: %s", why());
	BIO_free(bio);
	if (!result)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

/* "DNS:a,IP:b" of the names; NULL where one is neither. */
static char *alternative_names(const char *const *names)
{
	struct buf text = {0};
	struct addr addr;

	for (; *names; names++) {
		bool is_ip = addr_parse(&addr, *names);

		if (!**names || strlen(*names) > 253 ||
		    (!is_ip && (*names)[strspn(*names, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
						       "0123456789.-*")])) {
			buf_free(&text);
			return NULL;
		}
		buf_addf(&text, "%s%s:%s", text.len ? "," : "", is_ip ? "IP" : "DNS", *names);
	}
	return (char *)text.data;
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	bool ok = extension && X509_add_ext(cert, extension, -1);

	X509_EXTENSION_free(extension);
	return ok;
}

static bool fill_certificate(X509 *cert, EVP_PKEY *key, const char *name, const char *names)
{
	X509_NAME *subject = X509_get_subject_name(cert);
	uint64_t serial;

	return RAND_bytes((unsigned char *)&serial, sizeof(serial)) == 1 &&
	       ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1 | 1) &&
	       X509_set_version(cert, X509_VERSION_3) &&
	       X509_gmtime_adj(X509_getm_notBefore(cert), -24 * 3600) &&
	       X509_gmtime_adj(X509_getm_notAfter(cert), TEN_YEARS) && X509_set_pubkey(cert, key) &&
	       X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name,
					  (int)MIN(strlen(name), 64), -1, 0) &&
	       X509_set_issuer_name(cert, subject) &&
	       add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(cert, NID_ext_key_usage, "serverAuth") &&
	       add_extension(cert, NID_subject_alt_name, names) && X509_sign(cert, key, EVP_sha256()) > 0;
}

static int sign_certificate(const char *path, EVP_PKEY *key, const char *const *names, char *error,
			    size_t size)
{
	char *alternatives = alternative_names(names);
	BIO *bio = BIO_new(BIO_s_mem());
	X509 *cert = X509_new();
	int result;

	if (!alternatives)
		result = fail(error, size, "a name for the certificate is neither a host name nor an address");
	else if (!bio || !cert || !fill_certificate(cert, key, names[0], alternatives) ||
		 !PEM_write_bio_X509(bio, cert))
		result = fail(error, size, "a certificate cannot be made: %s", why());
	else
		result = write_bio(bio, path, 0644, error, size);
	X509_free(cert);
	BIO_free(bio);
	free(alternatives);
	return result;
}

int tls_make_certificate(const char *cert_path, const char *key_path, const char *const *names,
			 char *error, size_t size)
{
	bool has_key = access(key_path, F_OK) == 0, has_cert = access(cert_path, F_OK) == 0;
	EVP_PKEY *key;
	int result;

	if (has_key && has_cert)
		return 0;
	if (has_cert)
		return fail(error, size, "%s is there but its key %s is not: put it back, or remove both",
			    cert_path, key_path);
	ERR_clear_error();
	key = has_key ? tls_read_key(key_path, error, size) : make_key(key_path, error, size);
	if (!key)
		return -EINVAL;
	result = sign_certificate(cert_path, key, names, error, size);
	EVP_PKEY_free(key);
	return result;
}
