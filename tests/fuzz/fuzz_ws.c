/* WebSocket frames: the first byte chooses the role and a cut; messages are echoed. */
#include "fuzz.h"
#include "lib/ws.h"

#include <stdlib.h>

static void on_message(void *arg, const char *text, size_t len)
{
	struct ws **ws = arg;

	ws_send(*ws, text, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct ws *ws;
	size_t cut;

	if (len < 1)
		return 0;
	cut = MIN((size_t)(data[0] >> 1), len - 1);
	ws = ws_new(data[0] & 1, 4096, on_message, &ws);
	if (!ws_feed(ws, data + 1, cut))
		ws_feed(ws, data + 1 + cut, len - 1 - cut);
	ws_closed(ws);
	buf_consume(ws_output(ws), ws_output(ws)->len);
	ws_free(ws);
	return 0;
}
