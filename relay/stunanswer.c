/*
 * stunanswer.c - the answers of a STUN server, without a socket in sight.
 *
 * Silence for all but well-formed binding requests: an answer to anything else would serve only
 * those who look for reflectors. CHANGE-REQUEST is honoured exactly or refused with 420: an answer
 * from the wrong address would make a client believe in a NAT that is not there.
 */
#include "stunanswer.h"

static bool pair_find(const struct stun_pair *pair, const struct endpoint *endpoint, unsigned *address,
		      unsigned *port)
{
	for (unsigned i = 0; i < 4; i++) {
		*address = i & 1;
		*port = i >> 1;
		if (addr_equal(&pair->address[*address], &endpoint->addr) &&
		    pair->port[*port] == endpoint->port)
			return true;
	}
	return false;
}

bool stun_pair_has(const struct stun_pair *pair, const struct endpoint *endpoint)
{
	unsigned address, port;

	return pair_find(pair, endpoint, &address, &port);
}

/* RFC 8489 6.3.1: names the attributes that we do not know, or cannot do. */
static void refuse(struct stun_writer *w, const struct stun_message *m)
{
	static const uint16_t change[] = {STUN_CHANGE_REQUEST};

	stun_put_error(w, 420, "Unknown Attribute");
	if (m->unknown_count)
		stun_put_unknown(w, m->unknown, m->unknown_count);
	else
		stun_put_unknown(w, change, 1);
}

bool stun_answer(struct stun_answer *out, const struct stun_pair *pair, const struct endpoint *local,
		 const struct endpoint *from, const void *data, size_t len)
{
	unsigned address = 0, port = 0;
	struct endpoint other;
	struct stun_message m;
	struct stun_writer w;
	bool refused;

	if (stun_parse(&m, data, len) || m.type != STUN_REQUEST || !from->port ||
	    addr_is_multicast(&local->addr))
		return false;
	if (pair && !pair_find(pair, local, &address, &port))
		pair = NULL;
	refused = m.unknown_count || (m.change && !pair);
	out->source = *local;
	out->to = *from;
	stun_begin(&w, out->data, sizeof(out->data), refused ? STUN_ERROR : STUN_SUCCESS, m.txid);
	if (refused) {
		refuse(&w, &m);
	} else {
		if (m.change & STUN_CHANGE_IP)
			out->source.addr = pair->address[!address];
		if (m.change & STUN_CHANGE_PORT)
			out->source.port = pair->port[!port];
		if (m.response_port)
			out->to.port = m.response_port;
		stun_put_mapped(&w, from);
		stun_put_endpoint(&w, STUN_RESPONSE_ORIGIN, &out->source);
	}
	if (!refused && pair) {
		other = (struct endpoint){.addr = pair->address[!address], .port = pair->port[!port]};
		stun_put_endpoint(&w, STUN_OTHER_ADDRESS, &other);
	}
	if (m.has_fingerprint)
		stun_put_fingerprint(&w);
	out->len = stun_finish(&w);
	return out->len > 0;
}
