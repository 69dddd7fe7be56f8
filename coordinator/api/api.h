/*
 * api.h - the handlers of the table in routes.c. Each answers its request exactly once.
 */
#ifndef COORDINATOR_API_H
#define COORDINATOR_API_H

#include "conn.h"

void api_challenge(struct request *rq); /* api_register.c */
void api_register(struct request *rq);
void api_token(struct request *rq); /* api_agent.c */
void api_key(struct request *rq);
void api_leave(struct request *rq);
void api_endpoint(struct request *rq);
void api_peers(struct request *rq);
void api_heartbeat(struct request *rq);
void api_health(struct request *rq); /* metrics.c */
void api_metrics(struct request *rq);

/* Answers with a problem; of a registration it also leaves an audit line. */
void api_refused(struct request *rq, int status, const char *code, const char *detail);
/* Answers, with an audit line, who has not proved to be `agent` (NULL: none that is known). */
void api_proof_refused(struct request *rq, const struct agent *agent, const struct refusal *why);

/* Judges a proof: header value, challenge and coordinator in the body; `public_key` is who must have
 * made it. False: *why says what is wrong. */
bool proof_judge(struct request *rq, const char *header, const struct key *public_key,
		 uint8_t challenge[static 32], struct refusal *why);
/* Then that its challenge serves no more; an agent that is known does not do so too often. False with status 0
 * where nothing is wrong, and the handler will be called again. */
bool proof_spend(struct request *rq, const struct key *public_key, const struct join_key *by,
		 const uint8_t challenge[static 32],
		 struct refusal *why);
/* The parts of judging, for two proofs over one challenge. */
bool proof_challenge(struct request *rq, const struct key *public_key, uint8_t challenge[static 32],
		     struct refusal *why);
bool proof_header(struct request *rq, const char *header, const struct key *public_key,
		  const uint8_t challenge[static 32], struct refusal *why);
bool proof_origin(struct request *rq, struct refusal *why);

/* May this refusal go into log and audit? How many could not is told with the next, or soon. */
bool api_may_note(struct coordinator *co);
void api_note_left_out(struct coordinator *co);

/* False: answered with 429 already. */
bool request_paced(struct request *rq, struct agent *agent);
/* False: answered with 503 already, for the database takes no writes. */
bool request_may_write(struct request *rq);
/* One bucket for requests and frames of so many bytes. */
bool agent_may_ask(struct coordinator *co, struct agent *agent, size_t body);

json_t *api_token_json(struct coordinator *co, const struct agent *agent);
/* Could a packet be sent there from another host? False: js->error. */
bool api_endpoints_ok(struct js *js, const struct proto_endpoints *at);
/* A heartbeat's peer_status, from the API or the stream. False: js->error. */
bool api_take_heartbeat(struct coordinator *co, struct agent *agent, struct js *js);

#endif
