/*
 * fetch.c - HTTPS requests by libcurl's multi interface on our loop, and what streams share with
 * them (fetch_stream.c).
 *
 * Requests and streams have a multi handle each: libcurl prunes and evicts idle connections of a
 * multi handle when it makes a new one, and a CONNECT_ONLY connection looks idle to it. The tricky
 * thing is who may call whom: libcurl's callbacks here only note what is wanted, and an owner's
 * callback runs when libcurl has returned, so that it may start, cancel and free what it likes.
 */
#include "fetch_transfer.h"
#include "lib/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define REQUEST_TIMEOUT_MS 15000
#define ANSWER_MAX         (4u << 20)

struct watch { /* one socket that libcurl waits for */
	struct fetch_multi *multi;
	struct loop_io io;
};

struct fetch_call {
	struct transfer base;
	struct curl_slist *headers;
	struct buf body;
	bool too_big;
	fetch_fn *fn;
	void *arg;
};

/* ---- errors in our words ---------------------------------------------------------- */

static const struct {
	CURLcode code;
	int error;
	const char *what; /* NULL: what libcurl says */
} failures[] = {
	{CURLE_COULDNT_RESOLVE_HOST, EHOSTUNREACH, "the name does not resolve; check it and the resolver"},
	{CURLE_COULDNT_RESOLVE_PROXY, EHOSTUNREACH, "the proxy's name does not resolve; check https_proxy"},
	{CURLE_COULDNT_CONNECT, ECONNREFUSED, NULL},
	{CURLE_OPERATION_TIMEDOUT, ETIMEDOUT, "no answer in time; check that it runs and is not firewalled"},
	{CURLE_SSL_PINNEDPUBKEYNOTMATCH, EKEYREJECTED,
	 "the server's key is not the pinned one; if it was replaced, get a new join link"},
	{CURLE_PEER_FAILED_VERIFICATION, EKEYREJECTED,
	 "the certificate is not trusted for this name; use a join link with a pin, or fix the certificate"},
	{CURLE_SSL_CACERT_BADFILE, EKEYREJECTED, "no certificate authorities here; install ca-certificates"},
	{CURLE_SSL_CONNECT_ERROR, EPROTO, NULL},
	{CURLE_PARTIAL_FILE, ECONNRESET, "the answer was cut off"},
	{CURLE_GOT_NOTHING, ECONNRESET, "the server closed the connection without an answer"},
	{CURLE_RECV_ERROR, ECONNRESET, NULL},
	{CURLE_SEND_ERROR, ECONNRESET, NULL},
	{CURLE_WEIRD_SERVER_REPLY, EPROTO, "the answer is not HTTP; check host and port"},
	{CURLE_HTTP2, EPROTO, NULL},
	{CURLE_UNSUPPORTED_PROTOCOL, EINVAL, "only https:// is spoken here"},
	{CURLE_URL_MALFORMAT, EINVAL, "not a URL of the form https://HOST:PORT"},
	{CURLE_OUT_OF_MEMORY, ENOMEM, NULL},
};

int transfer_explain(const struct transfer *t, CURLcode code, char why[static FETCH_WHY])
{
	const char *what = t->detail[0] ? t->detail : curl_easy_strerror(code);
	long os_error = 0;
	int error = EIO;

	/* What libcurl calls HTTP/0.9 is an answer without a status line. */
	if (code == CURLE_UNSUPPORTED_PROTOCOL && str_has_prefix(t->origin, "https://"))
		code = CURLE_WEIRD_SERVER_REPLY;
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		if (failures[i].code != code)
			continue;
		error = failures[i].error;
		if (failures[i].what)
			what = failures[i].what;
	}
	if (code == CURLE_COULDNT_CONNECT) {
		curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_error);
		if (os_error > 0) {
			error = (int)os_error;
			what = strerror(error);
		}
	}
	snprintf(why, FETCH_WHY, "%s: %s", t->origin, what);
	return -error;
}

/* ---- the multi handle on the loop --------------------------------------------------- */

static void multi_close(struct fetch_multi *multi)
{
	if (!multi->handle)
		return;
	curl_multi_cleanup(multi->handle);
	timer_stop(&multi->timer);
}

static void destroy(struct fetch *fetch)
{
	multi_close(&fetch->requests);
	multi_close(&fetch->streams);
	free(fetch);
}

void fetch_enter(struct fetch *fetch)
{
	fetch->busy++;
}

void fetch_leave(struct fetch *fetch)
{
	if (!--fetch->busy && fetch->dead)
		destroy(fetch);
}

static void collect(struct fetch_multi *multi)
{
	struct transfer *t;
	CURLMsg *message;
	int left;

	while (!multi->fetch->dead && (message = curl_multi_info_read(multi->handle, &left))) {
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		t->done(t, message->data.result);
	}
}

static void drive(struct fetch_multi *multi, curl_socket_t fd, int events)
{
	struct fetch *fetch = multi->fetch;
	int running;

	fetch_enter(fetch);
	curl_multi_socket_action(multi->handle, fd, events, &running);
	collect(multi);
	fetch_leave(fetch);
}

static void on_socket(void *arg, int fd, unsigned events)
{
	struct watch *watch = arg;

	drive(watch->multi, fd, (events & LOOP_READ ? CURL_CSELECT_IN : 0) |
					(events & LOOP_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(void *arg)
{
	drive(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* CURLMOPT_SOCKETFUNCTION */
static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct fetch_multi *multi = arg;
	struct watch *watch = known;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watch)
			io_stop(&watch->io);
		free(watch);
		curl_multi_assign(multi->handle, fd, NULL);
		return 0;
	}
	if (!watch) {
		watch = xcalloc(1, sizeof(*watch));
		watch->multi = multi;
		io_init(&watch->io, multi->fetch->loop, fd, on_socket, watch);
		curl_multi_assign(multi->handle, fd, watch);
	}
	io_start(&watch->io,
		 (what & CURL_POLL_IN ? LOOP_READ : 0u) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0u));
	return 0;
}

/* CURLMOPT_TIMERFUNCTION; must not call libcurl from here, so that 0 is a timer too. */
static int want_timer(CURLM *handle, long ms, void *arg)
{
	struct fetch_multi *multi = arg;

	(void)handle;
	if (ms < 0)
		timer_stop(&multi->timer);
	else
		timer_start(&multi->timer, (uint64_t)ms);
	return 0;
}

static int multi_open(struct fetch_multi *multi, struct fetch *fetch)
{
	multi->fetch = fetch;
	multi->handle = curl_multi_init();
	if (!multi->handle)
		return -ENOMEM;
	timer_init(&multi->timer, fetch->loop, on_timer, multi);
	curl_multi_setopt(multi->handle, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(multi->handle, CURLMOPT_SOCKETDATA, multi);
	curl_multi_setopt(multi->handle, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(multi->handle, CURLMOPT_TIMERDATA, multi);
	curl_multi_setopt(multi->handle, CURLMOPT_MAXCONNECTS, 4L);
	return 0;
}

int fetch_new(struct fetch **out, struct loop *loop)
{
	struct fetch *fetch = xcalloc(1, sizeof(*fetch));

	fetch->loop = loop;
	list_init(&fetch->transfers);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) || multi_open(&fetch->requests, fetch) ||
	    multi_open(&fetch->streams, fetch)) {
		destroy(fetch);
		return -ENOMEM;
	}
	*out = fetch;
	return 0;
}

void fetch_free(struct fetch *fetch)
{
	struct transfer *t, *next;

	if (!fetch)
		return;
	list_each_safe(t, next, &fetch->transfers, node)
		t->drop(t);
	fetch->dead = true;
	if (!fetch->busy)
		destroy(fetch);
}

/* ---- what every transfer gets ------------------------------------------------------- */

static int mark_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	const struct transfer *t = arg;

	(void)purpose;
	if (t->fwmark && setsockopt(fd, SOL_SOCKET, SO_MARK, &t->fwmark, sizeof(t->fwmark)))
		return CURL_SOCKOPT_ERROR;
	return CURL_SOCKOPT_OK;
}

/* "sha256//" and padded standard base64, joined by ';'. With none that can be read no key fits. */
static char *curl_pins(const char *const *pins)
{
	struct buf text = {.limit = 8192};
	uint8_t hash[32];
	char *base64;

	for (; *pins; pins++) {
		if (base64url_decode(hash, sizeof(hash), *pins) != (int)sizeof(hash))
			continue;
		base64 = base64_encode(hash, sizeof(hash));
		buf_addf(&text, "%ssha256//%s", text.len ? ";" : "", base64);
		free(base64);
	}
	if (!text.len)
		buf_puts(&text, "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
	return (char *)text.data;
}

static void set_trust(struct transfer *t, const struct fetch_trust *trust)
{
	char *pins;

	t->fwmark = trust ? trust->fwmark : 0;
	if (!trust || !trust->pins)
		return;
	pins = curl_pins(trust->pins);
	curl_easy_setopt(t->easy, CURLOPT_PINNEDPUBLICKEY, pins);
	curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 0L);
	free(pins);
}

static char *origin_of(const char *url)
{
	const char *host = strstr(url, "://");
	size_t len = host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#") : strcspn(url, "?#");

	return xasprintf("%.*s", (int)MIN(len, 300), url);
}

void transfer_init(struct transfer *t, struct fetch_multi *multi, const char *url,
		   const struct fetch_trust *trust)
{
	t->multi = multi;
	t->origin = origin_of(url);
	t->easy = curl_easy_init();
	if (!t->easy)
		abort(); /* out of memory, as xmalloc */
	curl_easy_setopt(t->easy, CURLOPT_URL, url);
	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->detail);
	curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(t->easy, CURLOPT_QUICK_EXIT, 1L); /* never wait for a resolver's thread */
	curl_easy_setopt(t->easy, CURLOPT_TCP_KEEPALIVE, 1L);
	/* By ALPN h2 would win, and Upgrade does not exist there. */
	curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(t->easy, CURLOPT_SOCKOPTFUNCTION, mark_socket);
	curl_easy_setopt(t->easy, CURLOPT_SOCKOPTDATA, t);
	set_trust(t, trust);
	list_add_tail(&multi->fetch->transfers, &t->node);
}

void transfer_fini(struct transfer *t)
{
	list_del(&t->node);
	curl_multi_remove_handle(t->multi->handle, t->easy);
	curl_easy_cleanup(t->easy);
	free(t->origin);
}

/* ---- requests ------------------------------------------------------------------------ */

static void call_drop(struct transfer *t)
{
	struct fetch_call *call = container_of(t, struct fetch_call, base);

	transfer_fini(t);
	curl_slist_free_all(call->headers);
	buf_wipe(&call->body);
	free(call);
}

static void call_done(struct transfer *t, CURLcode code)
{
	struct fetch_call *call = container_of(t, struct fetch_call, base);
	struct fetch_answer answer = {.body = &call->body};
	char why[FETCH_WHY] = "";
	fetch_fn *fn = call->fn;
	void *arg = call->arg;
	long status = 0;
	struct buf body;

	if (call->too_big) {
		answer.error = -EFBIG;
		snprintf(why, sizeof(why), "%s: the answer is larger than %zu bytes", t->origin,
			 call->body.limit);
	} else if (code) {
		answer.error = transfer_explain(t, code, why);
	}
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	answer.status = (int)status;
	answer.why = why;
	body = call->body;
	call->body = (struct buf){0};
	answer.body = &body;
	call_drop(t);
	fn(arg, &answer);
	buf_wipe(&body);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct fetch_call *call = arg;

	if (buf_add(&call->body, data, size * count)) {
		call->too_big = true;
		return 0;
	}
	return size * count;
}

static void set_method(struct fetch_call *call, const struct fetch_request *request)
{
	CURL *easy = call->base.easy;

	if (request->body) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
		curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body);
	} else if (!strcmp(request->method, "HEAD")) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

struct fetch_call *fetch_start(struct fetch *fetch, const struct fetch_trust *trust,
			       const struct fetch_request *request, fetch_fn *fn, void *arg)
{
	struct fetch_call *call = xcalloc(1, sizeof(*call));
	CURL *easy;

	transfer_init(&call->base, &fetch->requests, request->url, trust);
	easy = call->base.easy;
	call->base.done = call_done;
	call->base.drop = call_drop;
	call->fn = fn;
	call->arg = arg;
	buf_init(&call->body, request->max_answer ? request->max_answer : ANSWER_MAX);
	/* No "Expect: 100-continue" (it costs a second where it is not known); the type is JSON
	 * unless the caller says otherwise. */
	call->headers = curl_slist_append(NULL, "Expect:");
	for (const char *const *h = request->headers; h && *h; h++)
		call->headers = curl_slist_append(call->headers, *h);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
	set_method(call, request);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "wg-mesh/" WG_MESH_VERSION);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
			 (long)(request->timeout_ms ? request->timeout_ms : REQUEST_TIMEOUT_MS));
	curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, 15L);
	curl_multi_add_handle(fetch->requests.handle, easy);
	return call;
}

void fetch_cancel(struct fetch_call *call)
{
	if (call)
		call_drop(&call->base);
}
