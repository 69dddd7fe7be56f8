/*
 * stun.h - STUN (RFC 8489) messages in and out, for discovery (RFC 5780) and for path probes.
 * Sans-IO: bytes in, values out. Writers never write past `size`; parsers accept only whole,
 * well-formed messages (length a multiple of 4 and equal to what follows the header).
 */
#ifndef CORE_LIB_STUN_H
#define CORE_LIB_STUN_H

#include "addr.h"
#include "key.h"

#define STUN_COOKIE     0x2112A442u
#define STUN_HEADER_LEN 20
#define STUN_TXID_LEN   12
#define STUN_MAX_LEN    1280

enum stun_type { STUN_REQUEST = 0x0001, STUN_INDICATION = 0x0011, STUN_SUCCESS = 0x0101, STUN_ERROR = 0x0111 };

enum stun_change { STUN_CHANGE_PORT = 2, STUN_CHANGE_IP = 4 }; /* CHANGE-REQUEST, RFC 5780 7.2 */

struct stun_message { /* what a parsed message held; absent endpoints have family 0 */
	uint16_t type;
	uint8_t txid[STUN_TXID_LEN];
	struct endpoint mapped;          /* XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS */
	struct endpoint response_origin; /* RESPONSE-ORIGIN, RFC 5780 7.3 */
	struct endpoint other_address;   /* OTHER-ADDRESS, RFC 5780 7.4 */
	uint32_t change;                 /* CHANGE-REQUEST flags */
	uint16_t response_port;          /* RESPONSE-PORT, RFC 5780 7.5; 0: absent */
	uint16_t error_code;             /* ERROR-CODE; 0: absent */
	const uint8_t *username;         /* borrowed from the input; NULL: absent */
	size_t username_len;
	uint16_t unknown[8]; /* comprehension-required attributes we do not know */
	size_t unknown_count;
	bool has_integrity;   /* MESSAGE-INTEGRITY-SHA256 is there (not yet verified) */
	size_t integrity_at;  /* its offset */
	bool has_fingerprint; /* and was right */
};

/* Cheap test by the first two bits, the cookie and the length. */
bool stun_is(const void *data, size_t len);
/* 0; -EBADMSG: malformed, or the fingerprint is wrong. */
int stun_parse(struct stun_message *out, const void *data, size_t len);
/* Verifies MESSAGE-INTEGRITY-SHA256 (RFC 8489 14.6; 32 bytes, not truncated) in constant time. */
bool stun_verify(const struct stun_message *message, const void *data, size_t len,
		 const uint8_t *key, size_t key_len);

/* Writer: begin, add attributes, finish. An overflow is remembered; finish then returns 0. */
struct stun_writer {
	uint8_t *out;
	size_t size, len;
	bool failed;
};
void stun_begin(struct stun_writer *w, void *out, size_t size, uint16_t type,
		const uint8_t txid[static STUN_TXID_LEN]);
void stun_put_mapped(struct stun_writer *w, const struct endpoint *mapped); /* XOR-MAPPED-ADDRESS */
void stun_put_endpoint(struct stun_writer *w, uint16_t attribute, const struct endpoint *endpoint);
void stun_put_bytes(struct stun_writer *w, uint16_t attribute, const void *data, size_t len);
void stun_put_u32(struct stun_writer *w, uint16_t attribute, uint32_t value);
void stun_put_error(struct stun_writer *w, uint16_t code, const char *reason);
void stun_put_unknown(struct stun_writer *w, const uint16_t *attributes, size_t count); /* with 420 */
void stun_put_integrity(struct stun_writer *w, const uint8_t *key, size_t key_len); /* last but one */
void stun_put_fingerprint(struct stun_writer *w);                                   /* last */
size_t stun_finish(struct stun_writer *w); /* whole length; 0: did not fit */

enum stun_attribute {
	STUN_MAPPED_ADDRESS = 0x0001,
	STUN_CHANGE_REQUEST = 0x0003,
	STUN_USERNAME = 0x0006,
	STUN_ERROR_CODE = 0x0009,
	STUN_UNKNOWN_ATTRIBUTES = 0x000A,
	STUN_MESSAGE_INTEGRITY_SHA256 = 0x001C,
	STUN_XOR_MAPPED_ADDRESS = 0x0020,
	STUN_PADDING = 0x0026,
	STUN_RESPONSE_PORT = 0x0027,
	STUN_SOFTWARE = 0x8022,
	STUN_FINGERPRINT = 0x8028,
	STUN_RESPONSE_ORIGIN = 0x802B,
	STUN_OTHER_ADDRESS = 0x802C,
};

#endif
