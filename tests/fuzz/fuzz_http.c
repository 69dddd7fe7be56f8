/*
 * HTTP: the first byte says where to cut the rest in two and whether it is a response; both ways of
 * feeding must come to the same end, or a slow sender could be understood otherwise than a quick one.
 */
#include "fuzz.h"
#include "lib/http.h"

#include <stdlib.h>
#include <string.h>

static enum http_state feed(struct http_message *m, const uint8_t *data, size_t len, size_t *total)
{
	enum http_state state;
	size_t used;
	uint8_t *copy = xmemdup(data, len);

	state = http_feed(m, copy, len, &used);
	free(copy);
	*total += used;
	if (used > len || (state == HTTP_NEED_MORE && used != len))
		abort();
	return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct http_limits limits = {.head = 512, .headers = 8, .body = 256};
	struct http_message whole, halves;
	enum http_state a, b;
	size_t used_a = 0, used_b = 0, cut;

	if (len < 1)
		return 0;
	cut = MIN((size_t)(data[0] >> 1), len - 1);
	http_init(&whole, &limits, data[0] & 1);
	http_init(&halves, &limits, data[0] & 1);
	a = feed(&whole, data + 1, len - 1, &used_a);
	b = feed(&halves, data + 1, cut, &used_b);
	if (b == HTTP_NEED_MORE)
		b = feed(&halves, data + 1 + cut, len - 1 - cut, &used_b);
	if (a != b || whole.status != halves.status || whole.header_count != halves.header_count)
		abort();
	if (a == HTTP_COMPLETE && (used_a != used_b || whole.body.len != halves.body.len ||
				   memcmp(buf_text(&whole.body), buf_text(&halves.body), whole.body.len)))
		abort();
	if (a == HTTP_COMPLETE && !whole.is_response)
		http_header_has(&whole, "Connection", whole.path);
	http_free(&whole);
	http_free(&halves);
	return 0;
}
