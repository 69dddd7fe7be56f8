/*
 * service.h - systemd, where it manages this host and our unit is installed (ARCHITECTURE 4, "Whose
 * agent"). Every call is bounded and none waits for a job to end.
 */
#ifndef CORE_CLI_SERVICE_H
#define CORE_CLI_SERVICE_H

#include "command.h"

bool service_is_ours(const struct cli *cli); /* then the agent is wg-meshd@IFACE.service */

/* systemctl --no-block VERB wg-meshd@IFACE. 0, or -errno and a sentence in why. */
#define SERVICE_WHY 300
int service_agent(const struct cli *cli, const char *verb, char why[static SERVICE_WHY]);

/* Whether wg-quick@IFACE can be used for an interface of /etc/wireguard. */
bool service_has_wg_quick(void);
bool service_wg_quick_active(const char *interface);
/* `systemctl start` or `stop` of wg-quick@IFACE, waited for. 0, or -errno and a sentence. */
int service_wg_quick(const char *interface, const char *verb, char why[static SERVICE_WHY]);

/* `systemctl enable` or `disable` of wg-quick@IFACE. *changed: it was the other way before. */
int service_enable(const char *interface, bool enable, bool *changed);

#endif
