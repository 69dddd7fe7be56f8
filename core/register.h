/*
 * register.h - `wg-meshd --register`: one registration, asked for on standard input and answered on
 * standard output, so that wg-mesh itself links no HTTP library. A document each:
 *
 *   in   {"url":"https://HOST:PORT","pin":"..."|null,"join_key":"...","private_key":"...",
 *         "name":"...","listen_port":N,"advertised_routes":[..],"exit_node":b,"tags":[..]}
 *   out  {"status":201,"agent_id":..,"token":..,"expires_in":..,"server_key":..,"networks":[NETWORK],
 *         "relays":[..],"name":..,"peers":[{"name","public_key"}]}
 *        or  {"status":409|..|0,"code":"..","detail":"one sentence"}
 *        `peers` are the members there already (GET peers, best effort: [] where it failed), so that
 *        join can say which hand-written peers are members.
 *   in   the same with "preview":true        out {"status":200,"networks":[{"name","cidr","cidr6"}]}
 *        The body of POST register with "preview":true: the same proof and checks, nothing is made,
 *        the key is not used up. So join can refuse an overlap before it registers.
 *   in   {"deregister":true,"url","pin","agent_id","token","private_key"}   out {"status":204}
 *
 * Exit code 0 for success, 1 refused, 4 not reachable.
 */
#ifndef CORE_REGISTER_H
#define CORE_REGISTER_H

int register_main(void);

#endif
