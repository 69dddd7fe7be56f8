/*
 * http.c - reading HTTP/1.1 messages (RFC 9112), sans-IO. The target: http_target.c; look-ups
 * and writing: http_write.c.
 *
 * The head is collected whole, checked as it comes, then cut into strings in place (a copy of the
 * target is decoded behind it, in the same memory). The body follows by length or by chunks, one
 * state a byte of framing. Two readings of one message are how requests get smuggled past a proxy,
 * so anything that has two ends here with a 400; what follows the message is never looked at.
 */
#include "http.h"
#include "http_target.h"
#include "str.h"

#include <string.h>
#include <strings.h>

enum state {
	IN_HEAD,
	IN_BODY,
	CHUNK_SIZE,
	CHUNK_EXTENSION,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	TRAILER_START,
	TRAILER_LINE,
	TRAILER_LF,
	END_LF,
	DONE,
	BAD,
};

#define MAX_CHUNK_LINE 256

void http_init(struct http_message *m, const struct http_limits *limits, bool is_response)
{
	*m = (struct http_message){.is_response = is_response};
	if (limits)
		m->limits = *limits;
	if (!m->limits.head)
		m->limits.head = HTTP_MAX_HEAD;
	if (!m->limits.headers || m->limits.headers > HTTP_MAX_HEADERS)
		m->limits.headers = HTTP_MAX_HEADERS;
	if (!m->limits.body)
		m->limits.body = HTTP_MAX_BODY;
	buf_init(&m->head, 2 * m->limits.head + 2);
	buf_init(&m->body, m->limits.body);
}

void http_free(struct http_message *m)
{
	buf_wipe(&m->head); /* tokens and join keys pass through here */
	buf_wipe(&m->body);
}

void http_reset(struct http_message *m)
{
	struct http_limits limits = m->limits;
	bool is_response = m->is_response;

	http_free(m);
	http_init(m, &limits, is_response);
}

bool http_has_head(const struct http_message *m)
{
	return m->state != IN_HEAD && m->state != BAD;
}

/* Always false, for `return reject(...)`. */
static bool reject(struct http_message *m, int status, const char *reason)
{
	m->state = BAD;
	m->status = status;
	m->reason = reason;
	m->keep_alive = false;
	return false;
}

/* ---- headers -------------------------------------------------------------------- */

static size_t header_times(const struct http_message *m, const char *name)
{
	size_t times = 0;

	for (size_t i = 0; i < m->header_count; i++)
		times += !strcasecmp(m->headers[i].name, name);
	return times;
}

/* RFC 9110 5.6.2 */
static bool is_token(const char *text)
{
	static const char allowed[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return *text && !text[strspn(text, allowed)];
}

/* Visible characters, bytes from 0x80, and inside blanks and tabs. */
static bool is_field_value(const char *text)
{
	for (; *text; text++)
		if (((unsigned char)*text < ' ' && *text != '\t') || *text == 0x7F)
			return false;
	return true;
}

static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	len = strlen(text);
	while (len && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		text[--len] = 0;
	return text;
}

static bool parse_header(struct http_message *m, char *line)
{
	char *colon = strchr(line, ':');

	if (!colon)
		return reject(m, 400, "a header line has no colon");
	*colon = 0;
	if (!is_token(line)) /* a blank before the colon and folded lines end here too */
		return reject(m, 400, "a header's name has a character that does not belong there");
	if (m->header_count == m->limits.headers)
		return reject(m, 431, "there are too many headers");
	m->headers[m->header_count].name = line;
	m->headers[m->header_count].value = trim(colon + 1);
	if (!is_field_value(m->headers[m->header_count].value))
		return reject(m, 400, "a header's value has a control character");
	m->header_count++;
	return true;
}

/* ---- first line ----------------------------------------------------------------- */

/* True for 1.1; sets *old for 1.0. */
static bool parse_version(struct http_message *m, const char *version, bool *old)
{
	*old = !strcmp(version, "HTTP/1.0");
	if (*old || !strcmp(version, "HTTP/1.1"))
		return true;
	if (str_has_prefix(version, "HTTP/") && strlen(version) <= 8)
		return reject(m, 400, "only HTTP/1.1 is spoken here");
	return reject(m, 400, "this is not HTTP");
}

static bool parse_request_line(struct http_message *m, char *line, char *copy, char **host, bool *old)
{
	char *target = strchr(line, ' ');
	char *version = target ? strchr(target + 1, ' ') : NULL;
	const char *wrong;

	if (!version)
		return reject(m, 400, "this is not HTTP: a request begins with METHOD TARGET HTTP/1.1");
	*target++ = 0;
	*version++ = 0;
	m->method = line;
	m->target = target;
	if (!parse_version(m, version, old))
		return false;
	if (!is_token(m->method))
		return reject(m, 400, "the method has a character that does not belong there");
	memcpy(copy, target, strlen(target) + 1);
	wrong = http_target_parse(m, copy, host);
	return wrong ? reject(m, 400, wrong) : true;
}

static bool parse_status_line(struct http_message *m, char *line, bool *old)
{
	char *code = strchr(line, ' ');
	uint16_t status;

	if (!code || strlen(code) < 4)
		return reject(m, 502, "the answer is not HTTP");
	*code++ = 0;
	if (!parse_version(m, line, old))
		return false;
	if (code[3] != ' ' && code[3])
		return reject(m, 502, "the answer has no status");
	code[3] = 0;
	if (!parse_u16(code, &status) || status < 100 || status > 599)
		return reject(m, 502, "the answer has no status");
	m->status = status;
	return true;
}

/* ---- what the head means --------------------------------------------------------- */

static bool is_host(const char *text)
{
	return !text[strcspn(text, "/@?# \t,\\")];
}

/* An absolute target's host is the one that is meant; the header beside it must only be well-formed. */
static bool check_host(struct http_message *m, const char *in_target, bool old)
{
	size_t times = header_times(m, "Host");

	m->host = http_header(m, "Host");
	if (times > 1 || (!times && !old))
		return reject(m, 400, "exactly one Host header is needed");
	if (m->host && !is_host(m->host))
		return reject(m, 400, "the Host header is not a host");
	if (in_target && (!*in_target || *in_target == ':' || !is_host(in_target)))
		return reject(m, 400, "the request's target names no host");
	if (in_target)
		m->host = in_target;
	return true;
}

/* RFC 9112 6: how long the body is. */
static bool find_length(struct http_message *m, bool old)
{
	const char *length = http_header(m, "Content-Length");
	const char *coding = http_header(m, "Transfer-Encoding");

	if (length && coding)
		return reject(m, 400, "both Content-Length and Transfer-Encoding are there");
	if (header_times(m, "Content-Length") > 1 || header_times(m, "Transfer-Encoding") > 1)
		return reject(m, 400, "the body's length is given more than once");
	if (coding && old)
		return reject(m, 400, "HTTP/1.0 has no Transfer-Encoding");
	if (coding && strcasecmp(coding, "chunked"))
		return reject(m, 400, "the only Transfer-Encoding known here is chunked");
	if (length && (!*length || length[strspn(length, "0123456789")]))
		return reject(m, 400, "Content-Length is not a number");
	if (length && (!parse_u64(length, &m->body_left) || m->body_left > m->limits.body))
		return reject(m, 413, "the body is too large");
	m->chunked = coding;
	return true;
}

static bool check_expect(struct http_message *m, bool old)
{
	const char *expect = http_header(m, "Expect");

	if (!expect || old)
		return true;
	if (strcasecmp(expect, "100-continue"))
		return reject(m, 417, "the only expectation known here is 100-continue");
	m->expect_continue = m->chunked || m->body_left;
	return true;
}

/* Cuts the head into lines and strings. `len` ends with an empty line. */
static bool parse_head(struct http_message *m, size_t len)
{
	char *line = buf_text(&m->head), *host = NULL;
	char *copy = line + len, *end;
	bool old = false, first = true;

	for (; (end = strstr(line, "\r\n")) && end != line; line = end + 2) {
		*end = 0;
		if (!first) {
			if (!parse_header(m, line))
				return false;
		} else if (m->is_response ? !parse_status_line(m, line, &old)
					  : !parse_request_line(m, line, copy, &host, &old)) {
			return false;
		}
		first = false;
	}
	if (first)
		return reject(m, 400, "this is not HTTP: the first line is empty");
	if (!m->is_response && !check_host(m, host, old))
		return false;
	m->http10 = old;
	m->keep_alive = !old && !http_header_has(m, "Connection", "close");
	return find_length(m, old) && (m->is_response || check_expect(m, old));
}

/* ---- feeding -------------------------------------------------------------------- */

/* The state after a head: a body by chunks, by length, or none. */
static int after_head(const struct http_message *m)
{
	bool none = m->is_response && (m->status < 200 || m->status == 204 || m->status == 304);

	if (none || (!m->chunked && !m->body_left))
		return DONE;
	return m->chunked ? CHUNK_SIZE : IN_BODY;
}

/* What a head may never have: NUL, and CR or LF without the other. */
static bool plain_bytes(const uint8_t *data, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (!data[i] || (data[i] == '\n') != (i > 0 && data[i - 1] == '\r'))
			return false;
	return true;
}

static size_t feed_head(struct http_message *m, const uint8_t *data, size_t len)
{
	size_t before = m->head.len, from = before > 3 ? before - 3 : 0, take;
	uint8_t *end;

	take = MIN(len, m->limits.head - before);
	buf_add(&m->head, data, take); /* its limit is twice the head's */
	end = memmem(m->head.data + from, m->head.len - from, "\r\n\r\n", 4);
	if (end)
		m->head.len = (size_t)(end - m->head.data) + 4;
	if (!plain_bytes(m->head.data, before, m->head.len)) {
		reject(m, 400, "lines must end with CR and LF, and have no NUL");
	} else if (end) {
		buf_reserve(&m->head, m->head.len); /* for the copy of the target */
		m->head.data[m->head.len] = 0;
		if (parse_head(m, m->head.len))
			m->state = after_head(m);
	} else if (m->head.len == m->limits.head) {
		reject(m, memchr(m->head.data, '\n', m->head.len) ? 431 : 414,
		       "the headers are too large");
	}
	return m->head.len - before;
}

static size_t feed_body(struct http_message *m, const uint8_t *data, size_t len)
{
	size_t take = (size_t)MIN((uint64_t)len, m->body_left);

	if (buf_add(&m->body, data, take)) {
		reject(m, 413, "the body is too large");
		return 0;
	}
	m->body_left -= take;
	if (!m->body_left)
		m->state = m->chunked ? CHUNK_DATA_CR : DONE;
	return take;
}

static void chunk_size_end(struct http_message *m)
{
	m->line_len = 0;
	m->state = m->body_left ? CHUNK_DATA : TRAILER_START;
	if (m->body_left > m->limits.body - m->body.len)
		reject(m, 413, "the body is too large");
}

/* Goes to `next` if the byte is what must stand here. */
static void expect(struct http_message *m, uint8_t byte, char wanted, int next)
{
	if (byte == wanted)
		m->state = next;
	else
		reject(m, 400, "the body's chunks are not framed as they should be");
}

static void feed_chunk_size(struct http_message *m, uint8_t byte)
{
	int digit = http_hex_value((char)byte);

	if (digit >= 0 && ++m->line_len <= 8) {
		m->body_left = m->body_left * 16 + (unsigned)digit;
	} else if (digit < 0 && m->line_len && (byte == ';' || byte == '\r')) {
		m->state = byte == ';' ? CHUNK_EXTENSION : CHUNK_SIZE_LF;
	} else {
		reject(m, 400, "a chunk's size is not a number");
	}
}

/* Text of an extension or a trailer, which is skipped: to `next` at its CR. */
static void skip_text(struct http_message *m, uint8_t byte, size_t max, int next)
{
	if (byte == '\r')
		m->state = next;
	else if ((byte < ' ' && byte != '\t') || byte == 0x7F)
		reject(m, 400, "a control character stands between the chunks");
	else if (++m->line_len > max)
		reject(m, 431, "what stands between the chunks is too long");
}

static void feed_framing(struct http_message *m, uint8_t byte)
{
	switch (m->state) {
	case CHUNK_SIZE:
		feed_chunk_size(m, byte);
		break;
	case CHUNK_EXTENSION:
		skip_text(m, byte, MAX_CHUNK_LINE, CHUNK_SIZE_LF);
		break;
	case CHUNK_SIZE_LF:
		expect(m, byte, '\n', CHUNK_DATA);
		if (m->state == CHUNK_DATA)
			chunk_size_end(m);
		break;
	case CHUNK_DATA_CR:
		expect(m, byte, '\r', CHUNK_DATA_LF);
		break;
	case CHUNK_DATA_LF:
		expect(m, byte, '\n', CHUNK_SIZE);
		break;
	case TRAILER_START:
		m->state = byte == '\r' ? END_LF : TRAILER_LINE;
		if (m->state == TRAILER_LINE)
			skip_text(m, byte, m->limits.head, TRAILER_LF);
		break;
	case TRAILER_LINE:
		skip_text(m, byte, m->limits.head, TRAILER_LF);
		break;
	case TRAILER_LF:
		expect(m, byte, '\n', TRAILER_START);
		break;
	case END_LF:
		expect(m, byte, '\n', DONE);
		break;
	}
}

enum http_state http_feed(struct http_message *m, const void *data, size_t len, size_t *used)
{
	const uint8_t *p = data;
	size_t at = 0;

	while (at < len && m->state != DONE && m->state != BAD) {
		if (m->state == IN_HEAD)
			at += feed_head(m, p + at, len - at);
		else if (m->state == IN_BODY || m->state == CHUNK_DATA)
			at += feed_body(m, p + at, len - at);
		else
			feed_framing(m, p[at++]);
	}
	*used = at;
	return m->state == DONE ? HTTP_COMPLETE : m->state == BAD ? HTTP_BAD : HTTP_NEED_MORE;
}
