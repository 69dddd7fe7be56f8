/* The coordinator's protocol: what is read as a peer, network or relay is written so that it reads
 * again as the same; a patch never leaves a peer that cannot be written. */
#include "fuzz.h"
#include "lib/proto.h"

#include <stdlib.h>
#include <string.h>

static void same(json_t *first, json_t *second)
{
	if (!json_equal(first, second))
		abort();
	json_decref(first);
	json_decref(second);
}

static void peer(json_t *json)
{
	struct proto_peer one, two;
	json_t *text;
	struct js js;

	js_read(&js, json);
	if (!proto_read_peer(&js, &one))
		return;
	js_read(&js, json);
	proto_patch_peer(&js, &one);
	text = proto_write_peer(&one);
	js_read(&js, text);
	if (!proto_read_peer(&js, &two))
		abort();
	same(text, proto_write_peer(&two));
}

static void network(json_t *json)
{
	struct proto_network one, two;
	json_t *text;
	struct js js;

	js_read(&js, json);
	if (!proto_read_network(&js, &one))
		return;
	text = proto_write_network(&one);
	js_read(&js, text);
	if (!proto_read_network(&js, &two))
		abort();
	same(text, proto_write_network(&two));
}

static void relay(json_t *json)
{
	struct proto_relay one, two;
	json_t *text;
	struct js js;

	js_read(&js, json);
	if (!proto_read_relay(&js, &one))
		return;
	text = proto_write_relay(&one);
	js_read(&js, text);
	if (!proto_read_relay(&js, &two))
		abort();
	same(text, proto_write_relay(&two));
	proto_relay_fini(&one);
	proto_relay_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char error[JS_ERROR] = "", *link = strndup((const char *)data, len);
	struct proto_endpoints at;
	struct join_link parsed;
	struct js js;
	json_t *json;

	if (!link || (!join_link_parse(&parsed, link, error) && !error[0]))
		abort();
	free(link);
	json = js_load(data, len, error);
	if (!json)
		return 0;
	peer(json);
	network(json);
	relay(json);
	js_read(&js, json);
	proto_read_endpoints(&js, &at);
	json_decref(json);
	return 0;
}
