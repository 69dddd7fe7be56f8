/*
 * fetch_transfer.h - what requests (fetch.c) and streams (fetch_stream.c) share; for these two only.
 */
#ifndef CORE_FETCH_TRANSFER_H
#define CORE_FETCH_TRANSFER_H

#include "fetch.h"
#include "lib/list.h"

#include <curl/curl.h>

#define FETCH_WHY (CURL_ERROR_SIZE + 320)

struct fetch_multi {
	struct fetch *fetch;
	CURLM *handle;
	struct loop_timer timer;
};

struct fetch {
	struct loop *loop;
	struct fetch_multi requests, streams;
	struct list transfers;
	unsigned busy; /* inside a callback of ours: fetch_free then waits for its end */
	bool dead;
};

/* What requests and streams share; first member of both. */
struct transfer {
	struct list node;
	struct fetch_multi *multi;
	CURL *easy;
	char *origin; /* "https://HOST:PORT", for messages */
	uint32_t fwmark;
	void (*done)(struct transfer *transfer, CURLcode code);
	void (*drop)(struct transfer *transfer);
	char detail[CURL_ERROR_SIZE];
};

/* Makes the easy handle with what every transfer gets; the caller sets done and drop, and adds it. */
void transfer_init(struct transfer *t, struct fetch_multi *multi, const char *url,
		   const struct fetch_trust *trust);
void transfer_fini(struct transfer *t);
/* A libcurl code as negative errno and a sentence. */
int transfer_explain(const struct transfer *t, CURLcode code, char why[static FETCH_WHY]);

/* Around callbacks of the owner: fetch_free in between takes effect in fetch_leave. */
void fetch_enter(struct fetch *fetch);
void fetch_leave(struct fetch *fetch);

#endif
