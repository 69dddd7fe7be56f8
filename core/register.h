/*
 * register.h - `wg-meshd --register`: one registration, asked for on standard input and answered on
 * standard output, so that wg-mesh itself links no HTTP library. A document each:
 *
 *   in   {"url":"https://HOST:PORT","pin":"..."|null,"join_key":"...","private_key":"...",
 *         "name":"...","advertised_routes":[..],"exit_node":b,"tags":[..],"peers":[KEY..],"preview":b}
 *        peers: public keys already on the interface; a server that shows one of them is refused
 *   out  {"status":201,"agent_id":..,"token":..,"expires_in":..,"server_key":..,"networks":[NETWORK],
 *         "relays":[..],"pins":[..],"name":..,"approved":b}  (200: again; not approved: it waits,
 *        and has no peers until an administrator says yes)
 *        with preview, which registers nothing: {"status":200,"networks":[NETWORK without addresses]}
 *        or {"status":409|..|0,"code":"..","detail":"one sentence"}
 *   in   {"rekey":true,"url","pin","agent_id","private_key","new_private_key","server_key"|null,
 *         "again":b}     again: it was asked before with this new key, and may have come to pass
 *   out  {"status":200,"token":..,"expires_in":..}: the coordinator has the new key
 *        "pins":[..] beside a pin are others that are as good, in each request
 *   in   {"deregister":true,"url","pin","agent_id","token"|null,"private_key","server_key"|null}
 *   out  {"status":204}, also where the coordinator did not know it any more
 *
 * A detail names what was wrong and the remedy, and is safe to print. Members not named here are
 * ignored. Exit code 0 for success, 1 refused, 2 the document on standard input is wrong,
 * 4 not reachable.
 */
#ifndef CORE_REGISTER_H
#define CORE_REGISTER_H

int register_main(void);

#endif
