/*
 * stun.c - STUN messages (RFC 8489) in and out, with the attributes of RFC 5780.
 *
 * Parsing walks the attributes once and copies fixed-size values out; only USERNAME is borrowed.
 * The tricky thing is what the two checks cover: both MESSAGE-INTEGRITY-SHA256 and FINGERPRINT are
 * computed over all that stands before them, with a length field that counts the check itself but
 * nothing after it. Attributes behind the integrity are ignored, FINGERPRINT excepted (14.6).
 */
#include "stun.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#define FINGERPRINT_XOR 0x5354554Eu
#define INTEGRITY_LEN   32
#define ATTR_HEADER     4

/* Part of RFC 8489, so no reason for a 420, but nothing we act on. */
enum {
	ATTR_MESSAGE_INTEGRITY = 0x0008,
	ATTR_REALM = 0x0014,
	ATTR_NONCE = 0x0015,
	ATTR_PASSWORD_ALGORITHM = 0x001D,
	ATTR_USERHASH = 0x001E,
};

/* CRC-32 of ITU V.42 (RFC 8489 14.7), four bits a step; goes on from an earlier result. */
static uint32_t crc32_more(uint32_t crc, const uint8_t *data, size_t len)
{
	static const uint32_t table[16] = {
		0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
		0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
		0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
	};

	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint16_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
	put16(p, (uint16_t)(value >> 16));
	put16(p + 2, (uint16_t)value);
}

static size_t padded(size_t len)
{
	return (len + 3) & ~(size_t)3;
}

/* The header of `message` as the checks see it: with a length that ends at `end`. */
static void header_ending_at(uint8_t header[static STUN_HEADER_LEN], const uint8_t *message,
			     size_t end)
{
	memcpy(header, message, STUN_HEADER_LEN);
	put16(header + 2, (uint16_t)(end - STUN_HEADER_LEN));
}

static uint32_t fingerprint(const uint8_t *message, size_t at)
{
	uint8_t header[STUN_HEADER_LEN];
	uint32_t crc;

	header_ending_at(header, message, at + ATTR_HEADER + 4);
	crc = crc32_more(0, header, sizeof(header));
	return crc32_more(crc, message + STUN_HEADER_LEN, at - STUN_HEADER_LEN) ^ FINGERPRINT_XOR;
}

static void integrity(uint8_t out[static INTEGRITY_LEN], const uint8_t *message, size_t at,
		      const uint8_t *key, size_t key_len)
{
	crypto_auth_hmacsha256_state state;
	uint8_t header[STUN_HEADER_LEN];

	header_ending_at(header, message, at + ATTR_HEADER + INTEGRITY_LEN);
	crypto_auth_hmacsha256_init(&state, key, key_len);
	crypto_auth_hmacsha256_update(&state, header, sizeof(header));
	crypto_auth_hmacsha256_update(&state, message + STUN_HEADER_LEN, at - STUN_HEADER_LEN);
	crypto_auth_hmacsha256_final(&state, out);
	sodium_memzero(&state, sizeof(state));
}

/* ---- reading -------------------------------------------------------------------- */

bool stun_is(const void *data, size_t len)
{
	const uint8_t *p = data;

	return len >= STUN_HEADER_LEN && !(p[0] & 0xC0) && get32(p + 4) == STUN_COOKIE &&
	       get16(p + 2) % 4 == 0 && (size_t)get16(p + 2) + STUN_HEADER_LEN == len;
}

/* Bytes of a MAPPED-ADDRESS-like value (14.1); `mask` (cookie, then transaction) or NULL. */
static int read_endpoint(struct endpoint *out, const uint8_t *value, size_t len,
			 const uint8_t *mask)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in = {.sin_family = AF_INET};
	bool six = len == 20 && value[1] == 2;
	uint8_t plain[18];

	if (!six && !(len == 8 && value[1] == 1))
		return -EBADMSG;
	memcpy(plain, value + 2, len - 2);
	if (mask) {
		plain[0] ^= mask[0];
		plain[1] ^= mask[1];
		for (size_t i = 2; i < len - 2; i++)
			plain[i] ^= mask[i - 2];
	}
	if (six) {
		memcpy(&in6.sin6_port, plain, 2);
		memcpy(&in6.sin6_addr, plain + 2, 16);
		return endpoint_from_sockaddr(out, (struct sockaddr *)&in6) ? 0 : -EBADMSG;
	}
	memcpy(&in.sin_port, plain, 2);
	memcpy(&in.sin_addr, plain + 2, 4);
	return endpoint_from_sockaddr(out, (struct sockaddr *)&in) ? 0 : -EBADMSG;
}

static int read_error(struct stun_message *m, const uint8_t *value, size_t len)
{
	unsigned class = len >= 4 ? value[2] & 7 : 0;

	if (class < 3 || class > 6 || value[3] > 99)
		return -EBADMSG;
	m->error_code = (uint16_t)(class * 100 + value[3]);
	return 0;
}

static int read_response_port(struct stun_message *m, const uint8_t *value, size_t len)
{
	if (len != 2 && len != 4) /* RFC 5780 7.5 is read both ways */
		return -EBADMSG;
	m->response_port = get16(value);
	return 0;
}

static void note_unknown(struct stun_message *m, uint16_t type)
{
	if (type < 0x8000 && m->unknown_count < ARRAY_SIZE(m->unknown))
		m->unknown[m->unknown_count++] = type;
}

/* Of repeated attributes the first counts (14). Those that we read are all in these two ranges. */
static bool is_repeated(uint64_t seen[static 2], uint16_t type)
{
	uint64_t *word = &seen[type >> 15], bit = (uint64_t)1 << (type & 0x3f);
	bool repeated = (type & 0x7fff) < 0x40 && (*word & bit);

	if ((type & 0x7fff) < 0x40)
		*word |= bit;
	return repeated;
}

/* One attribute that stands before any integrity. */
static int read_attribute(struct stun_message *m, uint16_t type, const uint8_t *value, size_t len,
			  const uint8_t *mask)
{
	struct endpoint seen;

	switch (type) {
	case STUN_XOR_MAPPED_ADDRESS:
		return read_endpoint(&m->mapped, value, len, mask);
	case STUN_MAPPED_ADDRESS:
		return read_endpoint(m->mapped.addr.family ? &seen : &m->mapped, value, len, NULL);
	case STUN_RESPONSE_ORIGIN:
		return read_endpoint(&m->response_origin, value, len, NULL);
	case STUN_OTHER_ADDRESS:
		return read_endpoint(&m->other_address, value, len, NULL);
	case STUN_CHANGE_REQUEST:
		if (len != 4)
			return -EBADMSG;
		m->change = get32(value) & (STUN_CHANGE_IP | STUN_CHANGE_PORT);
		return 0;
	case STUN_RESPONSE_PORT:
		return read_response_port(m, value, len);
	case STUN_ERROR_CODE:
		return read_error(m, value, len);
	case STUN_USERNAME:
		m->username = value;
		m->username_len = len;
		return 0;
	case STUN_UNKNOWN_ATTRIBUTES:
	case ATTR_MESSAGE_INTEGRITY:
	case ATTR_REALM:
	case ATTR_NONCE:
	case ATTR_PASSWORD_ALGORITHM:
	case ATTR_USERHASH:
		return 0;
	default:
		note_unknown(m, type);
		return 0;
	}
}

static int read_fingerprint(struct stun_message *m, const uint8_t *data, size_t at, size_t len)
{
	if (get16(data + at + 2) != 4 || at + ATTR_HEADER + 4 != len)
		return -EBADMSG;
	if (get32(data + at + ATTR_HEADER) != fingerprint(data, at))
		return -EBADMSG;
	m->has_fingerprint = true;
	return 0;
}

int stun_parse(struct stun_message *out, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t value_len;
	uint16_t type;
	uint64_t seen[2] = {0}; /* types below 0x40, and from 0x8000 on */
	int error = 0;

	memset(out, 0, sizeof(*out));
	if (!stun_is(data, len))
		return -EBADMSG;
	out->type = get16(p);
	memcpy(out->txid, p + 8, STUN_TXID_LEN);
	for (size_t at = STUN_HEADER_LEN; at < len && !error; at += ATTR_HEADER + padded(value_len)) {
		type = get16(p + at); /* len and at are multiples of 4: a header fits */
		value_len = get16(p + at + 2);
		if (padded(value_len) > len - at - ATTR_HEADER)
			return -EBADMSG;
		if (type == STUN_FINGERPRINT) {
			error = read_fingerprint(out, p, at, len);
		} else if (out->has_integrity) {
			continue;
		} else if (type == STUN_MESSAGE_INTEGRITY_SHA256) {
			out->has_integrity = true;
			out->integrity_at = at;
		} else if (!is_repeated(seen, type)) {
			error = read_attribute(out, type, p + at + ATTR_HEADER, value_len, p + 4);
		}
	}
	return error;
}

bool stun_verify(const struct stun_message *message, const void *data, size_t len,
		 const uint8_t *key, size_t key_len)
{
	uint8_t expected[INTEGRITY_LEN];
	const uint8_t *p = data;
	size_t at = message->integrity_at;

	if (!message->has_integrity || at < STUN_HEADER_LEN || len < ATTR_HEADER + INTEGRITY_LEN ||
	    at > len - ATTR_HEADER - INTEGRITY_LEN || get16(p + at + 2) != INTEGRITY_LEN)
		return false;
	integrity(expected, p, at, key, key_len);
	return sodium_memcmp(expected, p + at + ATTR_HEADER, INTEGRITY_LEN) == 0;
}

/* ---- writing -------------------------------------------------------------------- */

void stun_begin(struct stun_writer *w, void *out, size_t size, uint16_t type,
		const uint8_t txid[static STUN_TXID_LEN])
{
	*w = (struct stun_writer){.out = out, .size = MIN(size, 65532)};
	if (size < STUN_HEADER_LEN) {
		w->failed = true;
		return;
	}
	put16(w->out, type);
	put16(w->out + 2, 0);
	put32(w->out + 4, STUN_COOKIE);
	memcpy(w->out + 8, txid, STUN_TXID_LEN);
	w->len = STUN_HEADER_LEN;
}

/* Room for an attribute's value with its padding zeroed; NULL: it does not fit. */
static uint8_t *add(struct stun_writer *w, uint16_t attribute, size_t len)
{
	uint8_t *p = w->out + w->len;

	if (w->failed || len > UINT16_MAX || ATTR_HEADER + padded(len) > w->size - w->len) {
		w->failed = true;
		return NULL;
	}
	put16(p, attribute);
	put16(p + 2, (uint16_t)len);
	memset(p + ATTR_HEADER, 0, padded(len));
	w->len += ATTR_HEADER + padded(len);
	return p + ATTR_HEADER;
}

void stun_put_endpoint(struct stun_writer *w, uint16_t attribute, const struct endpoint *endpoint)
{
	unsigned bytes = addr_len(&endpoint->addr);
	uint8_t *value = add(w, attribute, 4 + bytes);

	if (!value)
		return;
	value[1] = bytes == 16 ? 2 : 1;
	put16(value + 2, endpoint->port);
	memcpy(value + 4, endpoint->addr.bytes, bytes);
}

void stun_put_mapped(struct stun_writer *w, const struct endpoint *mapped)
{
	size_t at = w->len + ATTR_HEADER;

	stun_put_endpoint(w, STUN_XOR_MAPPED_ADDRESS, mapped);
	if (w->failed)
		return;
	w->out[at + 2] ^= w->out[4];
	w->out[at + 3] ^= w->out[5];
	for (unsigned i = 0; i < addr_len(&mapped->addr); i++)
		w->out[at + 4 + i] ^= w->out[4 + i];
}

void stun_put_bytes(struct stun_writer *w, uint16_t attribute, const void *data, size_t len)
{
	uint8_t *value = add(w, attribute, len);

	if (value && len)
		memcpy(value, data, len);
}

void stun_put_u32(struct stun_writer *w, uint16_t attribute, uint32_t value)
{
	uint8_t *p = add(w, attribute, 4);

	if (p)
		put32(p, value);
}

void stun_put_error(struct stun_writer *w, uint16_t code, const char *reason)
{
	size_t len = strlen(reason);
	uint8_t *value = add(w, STUN_ERROR_CODE, 4 + len);

	if (!value)
		return;
	value[2] = (uint8_t)(code / 100);
	value[3] = (uint8_t)(code % 100);
	memcpy(value + 4, reason, len);
}

void stun_put_unknown(struct stun_writer *w, const uint16_t *attributes, size_t count)
{
	uint8_t *value = add(w, STUN_UNKNOWN_ATTRIBUTES, 2 * count);

	for (size_t i = 0; value && i < count; i++)
		put16(value + 2 * i, attributes[i]);
}

void stun_put_integrity(struct stun_writer *w, const uint8_t *key, size_t key_len)
{
	size_t at = w->len;
	uint8_t *value = add(w, STUN_MESSAGE_INTEGRITY_SHA256, INTEGRITY_LEN);

	if (value)
		integrity(value, w->out, at, key, key_len);
}

void stun_put_fingerprint(struct stun_writer *w)
{
	size_t at = w->len;
	uint8_t *value = add(w, STUN_FINGERPRINT, 4);

	if (value)
		put32(value, fingerprint(w->out, at));
}

size_t stun_finish(struct stun_writer *w)
{
	if (w->failed)
		return 0;
	put16(w->out + 2, (uint16_t)(w->len - STUN_HEADER_LEN));
	return w->len;
}
