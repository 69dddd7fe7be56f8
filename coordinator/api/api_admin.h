/*
 * api_admin.h - administration over HTTP: who asks, and the commands of admin_commands.h as REST.
 */
#ifndef COORDINATOR_API_ADMIN_H
#define COORDINATOR_API_ADMIN_H

#include "conn.h"
#include "coordinator/access/who.h"

#define SESSION_COOKIE "__Host-wg-mesh"

/* By API token or session cookie; a session must also show that the request is our own page's. False:
 * answered already. Then who_fini. */
bool admin_authenticate(struct request *rq, struct who *who);
bool admin_credentials(const struct request *rq); /* has it any of these? An agent's token is none */

/* The session's text from the cookie; false: none. */
bool session_cookie(const struct request *rq, char out[static ACCESS_TEXT]);
void session_csrf(char out[static 44], const char *session); /* the value of WG-Mesh-CSRF */
/* Does Origin or Sec-Fetch-Site say that another site's page asks? */
bool session_cross_site(const struct request *rq);

void api_command(struct request *rq); /* handlers */
void api_events(struct request *rq);
void api_login(struct request *rq);
void api_login_link(struct request *rq);
void api_session(struct request *rq);
void api_logout(struct request *rq);

/* The query as arguments, by the row's description; false: it has others. */
bool api_query(struct request *rq, json_t *arguments, struct refusal *why);

#endif
