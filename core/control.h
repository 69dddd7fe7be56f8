/*
 * control.h - RUNDIR/IFACE.sock (0600): one JSON line a request, one JSON line an answer, several
 * of them on a connection. Only root and our own user may speak.
 *
 *   {"command":"hello"}           -> {"ok":true,"version","pid","interface","netns":N,"hooks":b}
 *                                    hooks: its runner lives (where it never had one: true)
 *   {"command":"status"}          -> the document of `wg-mesh status --json`
 *   {"command":"ping","peer":P}   -> {"ok":true,"name","address","path":"direct","endpoint","region":null,
 *                                    "latency_ms":12.3}   one probe, answered within 5 s
 *   {"command":"explain","peer":P}-> {"schema":1,"peer":..,"path":..,"records":[..]}
 *   {"command":"plugins"}         -> {"schema":1,"plugins":[{"name","kind","form":"so"|"script"|null,"loaded":b,
 *                                    "instances":[{"state","error"}],"options":[..],"version","summary"}]}
 *   {"command":"events"}          -> {"ok":true} and then one event document a line
 *   {"command":"reload"}          -> {"ok":true} after the configuration was read and taken
 *   {"command":"down"}            -> {"ok":true,"hooks":b} once all that the ledger holds is removed; the
 *                                    agent then runs agent-down (hooks false: whoever asks has to) and ends
 *   {"command":"stop"}            -> {"ok":true}; ends, leaving tunnels and ledger in place (SIGTERM)
 *
 * An error is {"ok":false,"exit":1|2|3|4,"error":"one sentence"}; a peer name that fits several is
 * exit 2 with "matches":[names].
 */
#ifndef CORE_CONTROL_H
#define CORE_CONTROL_H

#include "lib/json.h"
#include "lib/loop.h"

struct control;
struct control_client;

/* request is borrowed. Answer now with control_reply, or keep the client and answer later: the next
 * request of the connection waits until then. After the first answer to a request further ones may
 * follow (events). */
typedef void control_fn(void *arg, struct control_client *client, json_t *request);

int control_listen(struct control **out, struct loop *loop, const char *path, control_fn *fn, void *arg);
void control_free(struct control *control); /* closes all clients and removes the socket */
/* Takes. The client stays valid during the call and until its on_close. One that leaves more than
 * 256 KiB unread when another answer comes is closed. */
void control_reply(struct control_client *client, json_t *answer);
void control_error(struct control_client *client, int exit_code, const char *format, ...) PRINTF_LIKE(3, 4);
/* Called once when the client goes away, so that nobody answers it then; a client that is kept must
 * have one. The answer to the request ends it; one set after that answer (events) holds until the
 * client goes or another (NULL: none) is set. */
void control_on_close(struct control_client *client, loop_timer_fn *fn, void *arg);
void control_flush(struct control *control); /* writes what can be written: before the agent ends */

#endif
