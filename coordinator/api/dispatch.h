/*
 * dispatch.h - the table of the API: what can be asked, by whom, and what it looks like. It is walked
 * for each request, and GET /api/v1/openapi.json is written from it.
 */
#ifndef COORDINATOR_DISPATCH_H
#define COORDINATOR_DISPATCH_H

#include "conn.h"

enum endpoint_auth {
	AUTH_NONE,
	AUTH_SELF,  /* Bearer token of the agent {id} */
	AUTH_PROOF, /* the handler judges: a proof */
	AUTH_OWN,   /* likewise: a proof, or a token of the agent {id} */
	AUTH_ADMIN, /* API token or session; the handler judges */
	AUTH_LEAVE, /* either: an agent leaves by itself, or an administrator removes it */
};

struct endpoint_row {
	const char *method, *path; /* "/agents/{id}/peers", below /api/v1 unless it begins with "//" */
	enum endpoint_auth auth;
	void (*handler)(struct request *rq);
	const char *summary;
	const char *body, *answer; /* "name:type name:type?"; see fields.h. NULL: none */
	int status;                /* of success */
	const char *command;       /* of AUTH_ADMIN: admin_commands.h; NULL: handler alone */
	const char *id_key;        /* the argument that {id} is */
	const char *query;         /* as body; NULL: none */
	size_t max_body;           /* bytes; 0: the configured limit */
	const char *header;        /* that it needs beside Authorization; NULL: none */
	const char *preview;       /* the answer, 200, to who asks what would be; NULL: nobody may */
	bool unpaced;              /* the limit on an address's requests is not for it, as long as it has no body */
};

extern const struct endpoint_row endpoints[]; /* ends with method NULL */

/* What agents say of themselves, in a body or a frame. */
#define ENDPOINT_FIELDS                                                                            \
	"endpoint:endpoint? endpoints:endpoints? local_endpoints:endpoints? local_endpoint:endpoint? "     \
	"nat_type:word? upnp_mapped:bool?"
#define HEARTBEAT_FIELDS "endpoint:endpoint? peer_status:peer_status?"

void dispatch(struct request *rq);
/* The largest body that this request, whose head is there, may have; SIZE_MAX: the configured limit. */
size_t dispatch_max_body(const struct http_message *http);
bool dispatch_unpaced(const struct http_message *http); /* does it not count for the limit of its address? */

/* Does `path` fit the pattern? Then `id` has its {id}. */
bool pattern_match(const char *pattern, const char *path, char id[static PROTO_NAME_MAX]);

/* Who has this Authorization header, and until when (wall ms; may be NULL); NULL and why. */
struct agent *auth_bearer(struct coordinator *co, const char *header, uint64_t *ends_ms,
			  struct refusal *why);

void api_openapi(struct request *rq);
json_t *openapi_document(void); /* new; depends on the tables alone */
const char *openapi_text(struct coordinator *co); /* of it, made once */
json_t *openapi_frames(void); /* frames.c */
json_t *openapi_events(void);

#endif
