/*
 * register_parts.h - `wg-meshd --register` from inside, for register.c (registering, leaving) and
 * register_key.c (a new key) only.
 */
#ifndef CORE_REGISTER_PARTS_H
#define CORE_REGISTER_PARTS_H

#include "api.h"
#include "register.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_INPUT = 2, EXIT_UNREACHABLE = 4 };

#define REGISTER_MAX_PINS 16

struct registration {
	struct loop *loop;
	struct fetch *fetch;
	struct api api;
	const char *pins[1 + REGISTER_MAX_PINS + 1];
	struct key private_key, new_private_key, server_key;
	struct key *peers;
	json_t *in, *out;
	json_t *listed; /* a registration's answer, while the peers are asked for */
	const char *agent_id; /* to deregister */
	bool proved;          /* a token by proof was asked for */
	bool preview;
	struct api_answer first; /* to a new key */
	int exit_code;
};

void register_out(struct registration *r, int exit_code, json_t *out); /* takes; ends it */
void register_refuse(struct registration *r, int exit_code, int status, const char *code,
		     const char *format, ...) PRINTF_LIKE(5, 6);
void register_failed(struct registration *r, const struct api_answer *answer);
bool register_token_valid(const char *token);
void register_rekey(struct registration *r, struct js *js);

#endif
