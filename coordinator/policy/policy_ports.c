/*
 * policy_ports.c - arithmetic of ranges. Every set is kept sorted and joined, so that equal sets look
 * equal and each operation is one walk along both.
 */
#include "policy_ports.h"
#include "lib/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	uint32_t low, high;
	bool ports;
} words[] = {
	{"any", 0, POINT_LAST, false},
	{"tcp", POINT_TCP, POINT_UDP - 1, true},
	{"udp", POINT_UDP, POINT_ICMP - 1, true},
	{"icmp", POINT_ICMP, POINT_ICMP, false},
};

static bool parse_numbers(char *text, uint16_t *low, uint16_t *high)
{
	char *dash = strchr(text, '-');

	if (dash)
		*dash++ = '\0';
	/* 0 is no port; from it on is a way to write all up to another. */
	return parse_u16(text, low) && parse_u16(dash ? dash : text, high) && *low <= *high && *high;
}

bool ports_parse_range(const char *text, struct port_range *out, char *why, size_t size)
{
	const char *names[ARRAY_SIZE(words) + 1] = {NULL}, *near;
	size_t len = strcspn(text, "/");
	char word[16], numbers[16];
	uint16_t low, high;

	snprintf(word, sizeof(word), "%.*s", (int)len, text);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		names[i] = words[i].name;
		if (strcmp(word, words[i].name))
			continue;
		*out = (struct port_range){words[i].low, words[i].high};
		if (!text[len])
			return true;
		if (!words[i].ports) {
			snprintf(why, size, "has no ports, write \"%s\"", word);
			return false;
		}
		if (!str_copy(numbers, sizeof(numbers), text + len + 1) ||
		    !parse_numbers(numbers, &low, &high)) {
			snprintf(why, size, "is not PROTOCOL/PORT or PROTOCOL/LOW-HIGH with ports from 1 to 65535");
			return false;
		}
		*out = (struct port_range){words[i].low + low, words[i].low + high};
		return true;
	}
	near = str_nearest(word, names);
	if (near)
		snprintf(why, size, "is not known, did you mean \"%s%s\"?", near, text + len);
	else
		snprintf(why, size, "is not known: write any, icmp, tcp/PORT, udp/PORT or tcp/LOW-HIGH");
	return false;
}

bool ports_parse_point(const char *text, uint32_t *out)
{
	struct port_range range;
	char why[100];

	if (!ports_parse_range(text, &range, why, sizeof(why)) || range.low != range.high)
		return false;
	*out = range.low;
	return true;
}

void ports_format_point(char out[static POINT_TEXT], uint32_t point)
{
	if (point < POINT_ICMP)
		snprintf(out, POINT_TEXT, "%s/%u", point < POINT_UDP ? "tcp" : "udp", point & 0xffff);
	else
		snprintf(out, POINT_TEXT, "%s", point == POINT_ICMP ? "icmp" : "other");
}

void ports_free(struct ports *ports)
{
	free(ports->ranges);
	*ports = (struct ports){0};
}

void ports_append(struct ports *ports, uint32_t low, uint32_t high)
{
	if ((ports->count & (ports->count - 1)) == 0) /* a power of two is full */
		ports->ranges = xrealloc(ports->ranges,
					 MAX(ports->count * 2, 1) * sizeof(*ports->ranges));
	ports->ranges[ports->count++] = (struct port_range){low, high};
}

static void push(struct ports *ports, uint32_t low, uint32_t high)
{
	struct port_range *last = ports->count ? &ports->ranges[ports->count - 1] : NULL;

	if (last && last->high + 1 >= low)
		last->high = MAX(last->high, high);
	else
		ports_append(ports, low, high);
}

static int by_low(const void *a, const void *b)
{
	uint32_t x = ((const struct port_range *)a)->low, y = ((const struct port_range *)b)->low;

	return (x > y) - (x < y);
}

void ports_arrange(struct ports *ports)
{
	struct ports out = {0};

	if (ports->count)
		qsort(ports->ranges, ports->count, sizeof(*ports->ranges), by_low);
	for (unsigned i = 0; i < ports->count; i++)
		push(&out, ports->ranges[i].low, ports->ranges[i].high);
	free(ports->ranges);
	*ports = out;
}

void ports_union(struct ports *ports, const struct ports *more)
{
	struct ports out = {0};
	unsigned i = 0, j = 0;

	if (!more->count)
		return;
	while (i < ports->count || j < more->count) {
		const struct port_range *next;

		if (j == more->count ||
		    (i < ports->count && ports->ranges[i].low <= more->ranges[j].low))
			next = &ports->ranges[i++];
		else
			next = &more->ranges[j++];
		push(&out, next->low, next->high);
	}
	free(ports->ranges);
	*ports = out;
}

void ports_add(struct ports *ports, uint32_t low, uint32_t high)
{
	struct port_range range = {low, high};

	ports_union(ports, &(struct ports){.ranges = &range, .count = 1});
}

void ports_subtract(struct ports *ports, const struct ports *less)
{
	struct ports out = {0};
	unsigned j = 0;

	for (unsigned i = 0; i < ports->count; i++) {
		uint32_t low = ports->ranges[i].low, high = ports->ranges[i].high;
		bool left = true;

		while (j < less->count && less->ranges[j].high < low)
			j++;
		for (unsigned k = j; left && k < less->count && less->ranges[k].low <= high; k++) {
			if (less->ranges[k].low > low)
				push(&out, low, less->ranges[k].low - 1);
			left = less->ranges[k].high < high;
			low = less->ranges[k].high + 1;
		}
		if (left)
			push(&out, low, high);
	}
	free(ports->ranges);
	*ports = out;
}

void ports_intersect(struct ports *out, const struct ports *a, const struct ports *b)
{
	*out = (struct ports){0};
	for (unsigned i = 0, j = 0; i < a->count && j < b->count;) {
		uint32_t low = MAX(a->ranges[i].low, b->ranges[j].low);
		uint32_t high = MIN(a->ranges[i].high, b->ranges[j].high);

		if (low <= high)
			push(out, low, high);
		if (a->ranges[i].high < b->ranges[j].high)
			i++;
		else
			j++;
	}
}

bool ports_has(const struct ports *ports, uint32_t point)
{
	for (unsigned i = 0; i < ports->count && ports->ranges[i].low <= point; i++)
		if (point <= ports->ranges[i].high)
			return true;
	return false;
}

bool ports_equal(const struct ports *a, const struct ports *b)
{
	return a->count == b->count &&
	       (!a->count || !memcmp(a->ranges, b->ranges, a->count * sizeof(*a->ranges)));
}

static void add_text(char out[static PORTS_TEXT], const char *protocol, uint32_t low, uint32_t high)
{
	size_t len = strlen(out);
	const char *comma = len ? ", " : "";

	if (low == 0 && high == 0xffff)
		snprintf(out + len, PORTS_TEXT - len, "%s%s", comma, protocol);
	else if (low == high)
		snprintf(out + len, PORTS_TEXT - len, "%s%s/%u", comma, protocol, low);
	else
		snprintf(out + len, PORTS_TEXT - len, "%s%s/%u-%u", comma, protocol, low, high);
}

void ports_format(char out[static PORTS_TEXT], const struct ports *ports)
{
	static const struct {
		const char *name;
		uint32_t low, high;
	} parts[] = {
		{"tcp", POINT_TCP, POINT_UDP - 1},
		{"udp", POINT_UDP, POINT_ICMP - 1},
	};

	*out = '\0';
	if (ports->count == 1 && ports->ranges[0].low == 0 && ports->ranges[0].high == POINT_LAST) {
		snprintf(out, PORTS_TEXT, "any");
		return;
	}
	for (size_t p = 0; p < ARRAY_SIZE(parts); p++)
		for (unsigned i = 0; i < ports->count; i++) {
			uint32_t low = MAX(ports->ranges[i].low, parts[p].low);
			uint32_t high = MIN(ports->ranges[i].high, parts[p].high);

			if (low <= high)
				add_text(out, parts[p].name, low - parts[p].low, high - parts[p].low);
		}
	if (ports_has(ports, POINT_ICMP))
		snprintf(out + strlen(out), PORTS_TEXT - strlen(out), "%sicmp", *out ? ", " : "");
	if (ports_has(ports, POINT_OTHER))
		snprintf(out + strlen(out), PORTS_TEXT - strlen(out), "%sother", *out ? ", " : "");
	if (!*out)
		snprintf(out, PORTS_TEXT, "nothing");
}
