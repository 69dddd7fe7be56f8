/*
 * http_write.c - looking up headers, HTTP answers, and the WebSocket handshake's accept key.
 *
 * RFC 6455 wants SHA-1 for that key, as a mere checksum that shows the server has read it; libsodium
 * rightly has none, and the agent links no OpenSSL, so the forty lines of it are here.
 */
#include "clock.h"
#include "http.h"
#include "str.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

const char *http_header(const struct http_message *m, const char *name)
{
	for (size_t i = 0; i < m->header_count; i++)
		if (!strcasecmp(m->headers[i].name, name))
			return m->headers[i].value;
	return NULL;
}

static bool list_has(const char *list, const char *token)
{
	size_t len, token_len = strlen(token);

	while (*list) {
		list += strspn(list, " \t,");
		len = strcspn(list, ",");
		while (len && (list[len - 1] == ' ' || list[len - 1] == '\t'))
			len--;
		if (len == token_len && !strncasecmp(list, token, len))
			return true;
		list += strcspn(list, ",");
	}
	return false;
}

bool http_header_has(const struct http_message *m, const char *name, const char *token)
{
	for (size_t i = 0; i < m->header_count; i++)
		if (!strcasecmp(m->headers[i].name, name) && list_has(m->headers[i].value, token))
			return true;
	return false;
}

/* ---- answers -------------------------------------------------------------------- */

const char *http_status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {
		{100, "Continue"},
		{101, "Switching Protocols"},
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{204, "No Content"},
		{301, "Moved Permanently"},
		{302, "Found"},
		{303, "See Other"},
		{304, "Not Modified"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{410, "Gone"},
		{411, "Length Required"},
		{413, "Content Too Large"},
		{414, "URI Too Long"},
		{415, "Unsupported Media Type"},
		{417, "Expectation Failed"},
		{421, "Misdirected Request"},
		{422, "Unprocessable Content"},
		{426, "Upgrade Required"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{505, "HTTP Version Not Supported"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Status";
}

/* RFC 9110 5.6.7 */
static void put_date(struct buf *out)
{
	static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t now = (time_t)(clock_wall_ms() / 1000);
	struct tm tm;

	gmtime_r(&now, &tm);
	buf_addf(out, "Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n", days[tm.tm_wday], tm.tm_mday,
		 months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

void http_write_response(struct buf *out, int status, const char *headers, const char *content_type,
			 const void *body, size_t len, bool keep_alive, bool head_only)
{
	bool bodiless = status < 200 || status == 204 || status == 304;

	buf_addf(out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
	put_date(out);
	if (!bodiless)
		buf_addf(out, "Content-Length: %zu\r\n", len);
	if (!bodiless && content_type)
		buf_addf(out, "Content-Type: %s\r\n", content_type);
	if (!keep_alive && status >= 200)
		buf_puts(out, "Connection: close\r\n");
	if (headers)
		buf_puts(out, headers);
	buf_puts(out, "\r\n");
	if (!bodiless && !head_only)
		buf_add(out, body, len);
}

/* ---- WebSocket handshake ---------------------------------------------------------- */

static uint32_t rotate(uint32_t x, int bits)
{
	return x << bits | x >> (32 - bits);
}

static uint32_t sha1_mix(int round, uint32_t b, uint32_t c, uint32_t d)
{
	if (round < 20)
		return ((b & c) | (~b & d)) + 0x5A827999;
	if (round < 40)
		return (b ^ c ^ d) + 0x6ED9EBA1;
	if (round < 60)
		return ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC;
	return (b ^ c ^ d) + 0xCA62C1D6;
}

static void sha1_block(uint32_t h[static 5], const uint8_t block[static 64])
{
	uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], w[80];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
		       (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
	for (int i = 16; i < 80; i++)
		w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (int i = 0; i < 80; i++) {
		uint32_t next = rotate(a, 5) + sha1_mix(i, b, c, d) + e + w[i];

		e = d;
		d = c;
		c = rotate(b, 30);
		b = a;
		a = next;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

/* Of at most 119 bytes: two blocks. */
static void sha1_short(uint8_t out[static 20], const char *text, size_t len)
{
	uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
	uint8_t blocks[128] = {0};
	size_t total = len < 56 ? 64 : 128;

	memcpy(blocks, text, len);
	blocks[len] = 0x80;
	blocks[total - 2] = (uint8_t)(len >> 5);
	blocks[total - 1] = (uint8_t)(len << 3);
	for (size_t at = 0; at < total; at += 64)
		sha1_block(h, blocks + at);
	for (int i = 0; i < 20; i++)
		out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void ws_accept_key(char out[static 29], const char *key)
{
	char text[119], *encoded;
	uint8_t digest[20];
	int len;

	len = snprintf(text, sizeof(text), "%.80s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	sha1_short(digest, text, (size_t)len);
	encoded = base64_encode(digest, sizeof(digest));
	str_copy(out, 29, encoded);
	free(encoded);
}
