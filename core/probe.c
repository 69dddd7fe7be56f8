/*
 * Path probes. The sender names itself by an opaque USERNAME that only its partner can make sense
 * of; a request of our own that is thrown back at us carries our name, which is in nobody's table,
 * and so is dropped. Pending requests are kept by transaction and by partner, oldest first.
 */
#include "probe.h"

#include "lib/map.h"
#include "lib/secret.h"
#include "lib/stun.h"
#include <errno.h>
#include <string.h>

#define MAX_PENDING        8192
#define ANSWERS_PER_SECOND 25
#define ANSWERS_BURST      50

struct pending {
	struct list node, of_partner; /* in probes.pending and probe_partner.pending */
	struct probe_partner *partner;
	uint8_t txid[STUN_TXID_LEN];
	struct endpoint to;
	uint64_t sent_us;
};

struct probes {
	struct map *partners; /* their_id to probe_partner */
	struct map *by_txid;  /* to pending */
	struct list pending;  /* oldest first */
};

struct probes *probes_new(void)
{
	struct probes *probes = xcalloc(1, sizeof(*probes));

	probes->partners = map_new(PROBE_ID_LEN);
	probes->by_txid = map_new(STUN_TXID_LEN);
	list_init(&probes->pending);
	return probes;
}

static void drop(struct probes *probes, struct pending *pending)
{
	map_del(probes->by_txid, pending->txid);
	list_del(&pending->node);
	list_del(&pending->of_partner);
	free(pending);
}

void probes_free(struct probes *probes)
{
	if (!probes)
		return;
	while (!list_empty(&probes->pending))
		drop(probes, container_of(probes->pending.next, struct pending, node));
	map_free(probes->by_txid);
	map_free(probes->partners);
	free(probes);
}

int probes_add(struct probes *probes, struct probe_partner *partner, const struct key *our_private,
	       const struct key *their_public, uint64_t now_us)
{
	struct key our_public;

	list_init(&partner->pending);
	if (probe_key(&partner->key, our_private, their_public))
		return -EINVAL;
	key_public(&our_public, our_private);
	probe_id(partner->our_id, &partner->key, &our_public);
	probe_id(partner->their_id, &partner->key, their_public);
	if (map_get(probes->partners, partner->their_id))
		return -EEXIST;
	bucket_init(&partner->answers, ANSWERS_PER_SECOND, ANSWERS_BURST, now_us / 1000);
	map_put(probes->partners, partner->their_id, partner);
	return 0;
}

void probes_remove(struct probes *probes, struct probe_partner *partner)
{
	while (!list_empty(&partner->pending))
		drop(probes, container_of(partner->pending.next, struct pending, of_partner));
	if (map_get(probes->partners, partner->their_id) == partner)
		map_del(probes->partners, partner->their_id);
	key_wipe(&partner->key);
}

static void forget_old(struct probes *probes, uint64_t now_us)
{
	while (!list_empty(&probes->pending)) {
		struct pending *oldest = container_of(probes->pending.next, struct pending, node);

		if (now_us - oldest->sent_us <= PROBE_TIMEOUT_US &&
		    map_count(probes->by_txid) < MAX_PENDING)
			break;
		drop(probes, oldest);
	}
}

size_t probes_ask(struct probes *probes, struct probe_partner *partner, const struct endpoint *to,
		  uint64_t now_us, uint8_t out[static PROBE_MAX_LEN])
{
	struct pending *pending = xcalloc(1, sizeof(*pending));
	struct stun_writer w;

	forget_old(probes, now_us);
	pending->partner = partner;
	pending->to = *to;
	pending->sent_us = now_us;
	random_bytes(pending->txid, sizeof(pending->txid));
	list_add_tail(&probes->pending, &pending->node);
	list_add_tail(&partner->pending, &pending->of_partner);
	map_put(probes->by_txid, pending->txid, pending);

	stun_begin(&w, out, PROBE_MAX_LEN, STUN_REQUEST, pending->txid);
	stun_put_bytes(&w, STUN_USERNAME, partner->our_id, PROBE_ID_LEN);
	stun_put_integrity(&w, partner->key.bytes, KEY_LEN);
	stun_put_fingerprint(&w);
	return stun_finish(&w);
}

static enum probe_verdict asked(struct probes *probes, const struct endpoint *from,
				const struct stun_message *m, const uint8_t *data, size_t len,
				uint64_t now_us, struct probe_result *out)
{
	struct probe_partner *partner;
	struct stun_writer w;

	if (!m->has_integrity || m->username_len != PROBE_ID_LEN || m->unknown_count)
		return PROBE_REFUSED;
	partner = map_get(probes->partners, m->username);
	if (!partner || !stun_verify(m, data, len, partner->key.bytes, KEY_LEN) ||
	    !bucket_take(&partner->answers, now_us / 1000))
		return PROBE_REFUSED;
	out->partner = partner;
	out->at = *from;
	stun_begin(&w, out->reply, sizeof(out->reply), STUN_SUCCESS, m->txid);
	stun_put_mapped(&w, from);
	stun_put_integrity(&w, partner->key.bytes, KEY_LEN);
	stun_put_fingerprint(&w);
	out->reply_len = stun_finish(&w);
	return PROBE_ASKED;
}

/* ICE's symmetry check (RFC 8445 7.2.5.2.1): an answer from elsewhere proves no path. */
static enum probe_verdict answered(struct probes *probes, const struct endpoint *from,
				   const struct stun_message *m, const uint8_t *data, size_t len,
				   uint64_t now_us, struct probe_result *out)
{
	struct pending *pending = map_get(probes->by_txid, m->txid);

	if (!pending)
		return PROBE_FOREIGN;
	if (now_us - pending->sent_us > PROBE_TIMEOUT_US || !endpoint_equal(from, &pending->to) ||
	    !stun_verify(m, data, len, pending->partner->key.bytes, KEY_LEN))
		return PROBE_REFUSED;
	out->partner = pending->partner;
	out->at = pending->to;
	out->mapped = m->mapped;
	out->rtt_us = now_us - pending->sent_us;
	drop(probes, pending);
	return PROBE_ANSWERED;
}

enum probe_verdict probes_input(struct probes *probes, const struct endpoint *from,
				const uint8_t *data, size_t len, uint64_t now_us,
				struct probe_result *out)
{
	struct stun_message m;

	memset(out, 0, sizeof(*out));
	if (stun_parse(&m, data, len))
		return PROBE_FOREIGN;
	switch (m.type) {
	case STUN_REQUEST:
		return asked(probes, from, &m, data, len, now_us, out);
	case STUN_SUCCESS:
		return answered(probes, from, &m, data, len, now_us, out);
	default:
		return PROBE_FOREIGN;
	}
}
