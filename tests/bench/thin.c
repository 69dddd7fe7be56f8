/*
 * thin.c - the client's side of TLS 1.3 (RFC 8446), as little as a load generator can do with: one
 * cipher, X25519 with the same key for all, and nothing of what the server says of itself is checked.
 * The server has all its work; the client a tenth of what OpenSSL takes, which would be as much as
 * what is measured. Never to be used for anything else.
 */
#include "thin.h"
#include "lib/secret.h"

#include <errno.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { CHANGE_CIPHER = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23 }; /* records */
enum { SERVER_HELLO = 2, FINISHED = 20 };			    /* messages */

#define HEAD	   5
#define TAG	   16
#define PLAIN_MAX  16384
#define HASH	   32

static struct {
	uint8_t private_key[32], public_key[32];
	uint8_t derived[HASH]; /* of the early secret: the same where no key was shared before */
	EVP_CIPHER_CTX *cipher;
} common;

/* ---- the key schedule, 7.1 ----------------------------------------------------------------- */

static void hmac(uint8_t out[static HASH], const uint8_t key[static HASH], const void *data, size_t len)
{
	crypto_auth_hmacsha256(out, data, len, key);
}

/* HKDF-Expand-Label; never more than one block. */
static void expand(uint8_t *out, size_t size, const uint8_t secret[static HASH], const char *label,
		   const uint8_t *context, size_t context_len)
{
	uint8_t info[100] = {(uint8_t)(size >> 8), (uint8_t)size, (uint8_t)(6 + strlen(label))}, block[HASH];
	size_t len = 3;

	memcpy(info + len, "tls13 ", 6);
	memcpy(info + len + 6, label, strlen(label));
	len += info[2];
	info[len++] = (uint8_t)context_len;
	if (context_len)
		memcpy(info + len, context, context_len);
	len += context_len;
	info[len++] = 1;
	hmac(block, secret, info, len);
	memcpy(out, block, size);
}

static void keys_from(struct thin_keys *keys, const uint8_t secret[static HASH])
{
	expand(keys->key, sizeof(keys->key), secret, "key", NULL, 0);
	expand(keys->iv, sizeof(keys->iv), secret, "iv", NULL, 0);
	keys->sequence = 0;
}

static void so_far(const struct thin *thin, uint8_t out[static HASH])
{
	crypto_hash_sha256_state copy = thin->transcript;

	crypto_hash_sha256_final(&copy, out);
}

/* "derived" of a secret, which the next one is extracted with. */
static void derive(uint8_t out[static HASH], const uint8_t secret[static HASH])
{
	uint8_t empty[HASH];

	crypto_hash_sha256(empty, NULL, 0);
	expand(out, HASH, secret, "derived", empty, HASH);
}

static void make_common(void)
{
	static const uint8_t zero[HASH];
	uint8_t early[HASH];

	random_bytes(common.private_key, sizeof(common.private_key));
	crypto_scalarmult_base(common.public_key, common.private_key);
	hmac(early, zero, zero, HASH);
	derive(common.derived, early);
	common.cipher = EVP_CIPHER_CTX_new();
	if (!common.cipher || !EVP_CipherInit_ex(common.cipher, EVP_aes_128_gcm(), NULL, NULL, NULL, 1))
		abort();
}

/* ---- records ---------------------------------------------------------------------------------- */

static void nonce_of(uint8_t out[static 12], struct thin_keys *keys)
{
	memcpy(out, keys->iv, 12);
	for (int i = 0; i < 8; i++)
		out[11 - i] ^= (uint8_t)(keys->sequence >> 8 * i);
	keys->sequence++;
}

/* One context for all: a key costs little to set. `data` in place; the tag follows it. */
static bool crypt(struct thin_keys *keys, bool sealing, const uint8_t head[static HEAD], uint8_t *data,
		  size_t len)
{
	uint8_t nonce[12];
	int done;

	nonce_of(nonce, keys);
	return EVP_CipherInit_ex(common.cipher, NULL, NULL, keys->key, nonce, sealing) &&
	       (sealing || EVP_CIPHER_CTX_ctrl(common.cipher, EVP_CTRL_AEAD_SET_TAG, TAG, data + len)) &&
	       EVP_CipherUpdate(common.cipher, NULL, &done, head, HEAD) &&
	       EVP_CipherUpdate(common.cipher, data, &done, data, (int)len) &&
	       EVP_CipherFinal_ex(common.cipher, data + len, &done) &&
	       (!sealing || EVP_CIPHER_CTX_ctrl(common.cipher, EVP_CTRL_AEAD_GET_TAG, TAG, data + len));
}

static void seal(struct thin_keys *keys, uint8_t type, const uint8_t *data, size_t len,
		 struct buf *wire)
{
	size_t body = len + 1 + TAG;
	uint8_t *out = buf_reserve(wire, HEAD + body);
	uint8_t head[HEAD] = {DATA, 3, 3, (uint8_t)(body >> 8), (uint8_t)body};

	memcpy(out, head, HEAD);
	memcpy(out + HEAD, data, len);
	out[HEAD + len] = type;
	if (!crypt(keys, true, head, out + HEAD, len + 1))
		abort(); /* without memory alone */
	wire->len += HEAD + body;
}

void thin_write(struct thin *thin, const void *data, size_t len, struct buf *wire)
{
	const uint8_t *from = data;

	for (size_t part; len; from += part, len -= part) {
		part = MIN(len, PLAIN_MAX);
		seal(&thin->write, DATA, from, part, wire);
	}
}

/* ---- the handshake ------------------------------------------------------------------------------ */

static void add_hello(struct buf *out)
{
	static const uint8_t before[] = {1, 0, 0, 112, 3, 3}; /* ClientHello and its length */
	static const uint8_t after[] = {
		0, 0, 2, 0x13, 0x01, 1, 0,		     /* no session; AES-128-GCM */
		0, 69,					     /* extensions: */
		0, 43, 0, 3, 2, 3, 4,			     /* TLS 1.3 */
		0, 10, 0, 4, 0, 2, 0, 0x1d,		     /* X25519 */
		0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 8, 7,	     /* signed with P-256, RSA-PSS or Ed25519 */
		0, 51, 0, 38, 0, 36, 0, 0x1d, 0, 32,	     /* our key, which follows */
	};
	uint8_t random[32];

	random_bytes(random, sizeof(random));
	buf_add(out, before, sizeof(before));
	buf_add(out, random, sizeof(random));
	buf_add(out, after, sizeof(after));
	buf_add(out, common.public_key, sizeof(common.public_key));
}

void thin_begin(struct thin *thin, struct buf *wire)
{
	struct buf hello = {0};
	uint8_t head[HEAD] = {HANDSHAKE, 3, 1};

	if (!common.cipher)
		make_common();
	add_hello(&hello);
	crypto_hash_sha256_init(&thin->transcript);
	crypto_hash_sha256_update(&thin->transcript, hello.data, hello.len);
	head[4] = (uint8_t)hello.len;
	buf_add(wire, head, HEAD);
	buf_add(wire, hello.data, hello.len);
	buf_free(&hello);
}

void thin_free(struct thin *thin)
{
	buf_free(&thin->record);
	buf_free(&thin->message);
}

/* The server's key in its hello; NULL: it has none. */
static const uint8_t *key_share(const uint8_t *hello, size_t len)
{
	size_t at = 4 + 2 + 32, size;

	at += at < len ? 1u + hello[at] + 2 + 1 + 2 : len; /* session, cipher, compression, length */
	for (; at + 4 <= len; at += 4 + size) {
		size = (size_t)hello[at + 2] << 8 | hello[at + 3];
		if (hello[at + 1] == 51 && size == 36 && at + 4 + size <= len)
			return hello + at + 8;
	}
	return NULL;
}

static int agree(struct thin *thin, const uint8_t *hello, size_t len)
{
	const uint8_t *key = key_share(hello, len);
	uint8_t shared[32], hash[HASH], server[HASH];

	if (!key || crypto_scalarmult(shared, common.private_key, key))
		return -EPROTO;
	hmac(thin->handshake, common.derived, shared, sizeof(shared));
	so_far(thin, hash);
	expand(thin->client, HASH, thin->handshake, "c hs traffic", hash, HASH);
	expand(server, HASH, thin->handshake, "s hs traffic", hash, HASH);
	keys_from(&thin->read, server);
	keys_from(&thin->write, thin->client);
	thin->encrypted = true;
	return 0;
}

/* The server has finished: so do we, and go on under the keys of the traffic. */
static void finish(struct thin *thin, struct buf *wire)
{
	uint8_t next[HASH], master[HASH], secret[HASH], hash[HASH], message[4 + HASH] = {FINISHED, 0, 0, HASH};
	static const uint8_t zero[HASH];

	so_far(thin, hash);
	expand(secret, HASH, thin->client, "finished", NULL, 0);
	hmac(message + 4, secret, hash, HASH);
	seal(&thin->write, HANDSHAKE, message, sizeof(message), wire);
	derive(next, thin->handshake);
	hmac(master, next, zero, HASH);
	expand(secret, HASH, master, "c ap traffic", hash, HASH);
	keys_from(&thin->write, secret);
	expand(secret, HASH, master, "s ap traffic", hash, HASH);
	keys_from(&thin->read, secret);
	thin->open = true;
}

/* Whole messages; what follows the handshake (a ticket) is passed over. */
static int take_messages(struct thin *thin, struct buf *wire)
{
	struct buf *in = &thin->message;
	int result = 0;

	while (!result && in->len >= 4) {
		size_t len = 4 + ((size_t)in->data[1] << 16 | (size_t)in->data[2] << 8 | in->data[3]);
		uint8_t type = in->data[0];

		if (in->len < len)
			return 0;
		crypto_hash_sha256_update(&thin->transcript, in->data, len);
		if (type == SERVER_HELLO)
			result = agree(thin, in->data, len);
		else if (type == FINISHED && !thin->open)
			finish(thin, wire);
		buf_consume(in, len);
	}
	return result;
}

static int take_record(struct thin *thin, uint8_t *record, size_t len, struct buf *plain,
		       struct buf *wire)
{
	uint8_t type = record[0], *body = record + HEAD;

	len -= HEAD;
	if (type == CHANGE_CIPHER)
		return 0;
	if (thin->encrypted) {
		if (len < TAG + 1 || !crypt(&thin->read, false, record, body, len - TAG))
			return -EPROTO;
		len -= TAG;
		while (len && !body[len - 1])
			len--;
		type = len ? body[--len] : 0;
	}
	if (type == DATA)
		return buf_add(plain, body, len);
	if (type != HANDSHAKE) {
		thin->ended = type == ALERT;
		return thin->ended ? 0 : -EPROTO;
	}
	buf_add(&thin->message, body, len);
	return take_messages(thin, wire);
}

int thin_feed(struct thin *thin, const uint8_t *data, size_t len, struct buf *plain, struct buf *wire)
{
	struct buf *in = &thin->record;
	size_t at = 0, size;
	int result = 0;

	buf_add(in, data, len);
	while (!result && !thin->ended && in->len - at >= HEAD) {
		size = HEAD + ((size_t)in->data[at + 3] << 8 | in->data[at + 4]);
		if (in->len - at < size)
			break;
		result = take_record(thin, in->data + at, size, plain, wire);
		at += size;
	}
	buf_consume(in, at);
	if (!in->len)
		buf_free(in);
	if (!thin->message.len)
		buf_free(&thin->message);
	return result;
}
