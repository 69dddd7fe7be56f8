/*
 * thin.h - a TLS 1.3 client that checks nothing, for the load generator alone. Sans-IO.
 */
#ifndef BENCH_THIN_H
#define BENCH_THIN_H

#include "lib/buf.h"

#include <sodium.h>

struct thin_keys {
	uint8_t key[16], iv[12];
	uint64_t sequence;
};

struct thin {
	struct thin_keys read, write;
	crypto_hash_sha256_state transcript;
	uint8_t handshake[32], client[32]; /* secrets */
	struct buf record;		   /* the beginning of one */
	struct buf message;		   /* the beginning of a handshake message */
	bool encrypted, open, ended;	   /* open: thin_write may be called */
};

void thin_begin(struct thin *thin, struct buf *wire); /* zeroed before; `wire` is to be sent */
void thin_free(struct thin *thin);
/* Takes all of it; what was inside is added to `plain`. 0, or -EPROTO. */
int thin_feed(struct thin *thin, const uint8_t *data, size_t len, struct buf *plain, struct buf *wire);
void thin_write(struct thin *thin, const void *data, size_t len, struct buf *wire);

#endif
