/*
 * policy_ports.h - sets of what a packet can be: TCP ports, UDP ports, ICMP and all else, laid on one
 * line of numbers, so that "allow this but not that" is plain arithmetic of ranges.
 */
#ifndef COORDINATOR_POLICY_PORTS_H
#define COORDINATOR_POLICY_PORTS_H

#include "lib/util.h"

enum { /* places on the line */
	POINT_TCP = 0,        /* and 65535 ports from it */
	POINT_UDP = 0x10000,
	POINT_ICMP = 0x20000, /* of IPv4 and IPv6 alike */
	POINT_OTHER,          /* any protocol that is none of these */
	POINT_LAST = POINT_OTHER,
};

#define POINT_TEXT 16
#define PORTS_TEXT 200

struct port_range {
	uint32_t low, high;
};

struct ports { /* ranges in order, that neither touch nor overlap; all-zero: none */
	struct port_range *ranges;
	unsigned count;
};

/* "tcp/5432", "udp/53", "icmp": one point. */
bool ports_parse_point(const char *text, uint32_t *out);
void ports_format_point(char out[static POINT_TEXT], uint32_t point);
/* Also "any", "tcp", "udp", "tcp/8000-8100". False: *why says what is wrong ("is not ..."). */
bool ports_parse_range(const char *text, struct port_range *out, char *why, size_t size);

void ports_free(struct ports *ports);
void ports_add(struct ports *ports, uint32_t low, uint32_t high);
/* Many: appended as they come, and arranged before anything else is done with them. */
void ports_append(struct ports *ports, uint32_t low, uint32_t high);
void ports_arrange(struct ports *ports);
void ports_union(struct ports *ports, const struct ports *more);
void ports_subtract(struct ports *ports, const struct ports *less);
/* What is in both. */
void ports_intersect(struct ports *out, const struct ports *a, const struct ports *b);
bool ports_has(const struct ports *ports, uint32_t point);
bool ports_equal(const struct ports *a, const struct ports *b);
/* "tcp/22, udp, icmp", "any" or "nothing"; cut where it does not fit. */
void ports_format(char out[static PORTS_TEXT], const struct ports *ports);

#endif
