/*
 * conn_upgrade.c - is this request one that becomes a WebSocket? What becomes of it then is in conn.c.
 */
#include "conn.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

/* HTTP/1.0 has no Upgrade: one there is as if it were not (RFC 9110 7.8). */
static bool asks_for_websocket(const struct http_message *http)
{
	const char *version = http_header(http, "Sec-WebSocket-Version");

	return !http->http10 && http_header_has(http, "Upgrade", "websocket") &&
	       http_header_has(http, "Connection", "upgrade") && version && !strcmp(version, "13");
}

bool conn_wants_websocket(struct request *rq)
{
	const char *key = http_header(rq->http, "Sec-WebSocket-Key");
	uint8_t nonce[18];

	if (!asks_for_websocket(rq->http)) {
		snprintf(rq->headers, sizeof(rq->headers),
			 "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
		reply_problem(rq, 426, "websocket_needed", "this is a WebSocket: ask in HTTP/1.1 with Connection: "
			      "Upgrade, Upgrade: websocket, Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key");
		return false;
	}
	if (key && strlen(key) == 24 && base64_decode(nonce, sizeof(nonce), key) == 16)
		return true;
	reply_problem(rq, 400, "bad_request", "Sec-WebSocket-Key: must be 16 random bytes as base64");
	return false;
}
