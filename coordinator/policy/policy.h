/*
 * policy.h - who may talk to whom (SPEC 4), as a value: a parsed file and pure functions of it. It
 * knows nothing of the mesh that runs; what is done with it is in policy_state.h.
 *
 * Lower priority first, then file order; the first rule that fits decides; `default` at the end. A
 * name, tag, group or network is an agent's own mesh addresses; a CIDR or a name under `hosts` is any
 * address in it, an agent's own and those behind it; `any` is everything; `self` (in `to`) is the
 * agent the packet comes from. A device without an agent is one here, without tags and routes.
 */
#ifndef COORDINATOR_POLICY_H
#define COORDINATOR_POLICY_H

#include "policy_ports.h"
#include "lib/prefix.h"
#include "lib/yaml.h"

#define POLICY_WORD     64
#define POLICY_PRIORITY 100 /* of rules that say none */
#define POLICY_ERROR    (YAML_ERROR + 64)

enum selector_kind {
	SELECT_ANY,
	SELECT_SELF,
	SELECT_NAME,
	SELECT_TAG,
	SELECT_NETWORK,
	SELECT_PREFIX, /* CIDR, address, or a name under `hosts` */
};

struct policy_spot { /* in its text; 1-based */
	unsigned line, column;
};

struct selector {
	struct policy_spot at; /* of a group: where the group has it */
	enum selector_kind kind;
	char word[POLICY_WORD];
	struct prefix prefix;
};

struct selectors { /* groups are taken apart already */
	struct selector *items;
	unsigned count;
};

struct policy_rule {
	char *name;
	unsigned line, priority, order;
	bool allow;
	struct selectors from, to;
	struct ports ports;
};

struct policy_approval { /* of routes: `who` may offer what is inside prefix, or be an exit */
	bool exit;
	struct prefix prefix;
	struct selectors who;
};

struct policy_named { /* a name under hosts, groups or tags */
	struct policy_spot at;
	char word[POLICY_WORD];
	struct prefix prefix;   /* hosts */
	struct selectors who;   /* groups */
	char **owners;          /* tags: who may give it, as written; NULL-terminated */
	unsigned owner_count;
};

struct policy_test {
	char from[POLICY_WORD], to[POLICY_WORD], network[POLICY_WORD]; /* network "": any */
	uint32_t point;
	bool allow;
	unsigned line, column;
};

struct policy {
	char *name, *text; /* the file's */
	size_t text_len;
	bool default_allow;
	unsigned default_line; /* 0: it is not written */
	struct policy_rule *rules; /* in the order they are asked */
	struct policy_named *hosts, *groups, *tags;
	struct policy_approval *approvals;
	struct policy_test *tests;
	unsigned rule_count, host_count, group_count, tag_count, approval_count, test_count;
};

/* NULL and "FILE:LINE:COLUMN: sentence" in error: nothing of a wrong file is kept. */
struct policy *policy_parse(const char *name, const char *text, size_t len,
			    char error[static POLICY_ERROR]);
struct policy *policy_allow_all(void); /* what holds where nobody gave one */
void policy_free(struct policy *policy);

bool policy_reserved(const char *name); /* it means something else here: nobody is called so */

/* ---- deciding -------------------------------------------------------------------------- */

struct party { /* one end of a packet */
	const char *name, *network; /* the agent whose own address it is; NULL: nobody's */
	const json_t *tags;         /* may be NULL */
	struct addr addr;           /* family 0: none in particular; no CIDR fits */
};

struct verdict {
	bool allow;
	const char *rule; /* "default" where none fits */
	unsigned line;    /* 0: the default */
};

struct policy_index; /* policy_class.h */

void policy_decide(const struct policy_index *index, const struct party *from, const struct party *to,
		   uint32_t point, struct verdict *out);
bool selectors_fit(const struct selectors *selectors, const struct party *party);

/* May this agent's route be used without anybody's approval? */
bool policy_approves(const struct policy *policy, const struct party *who, const struct prefix *route);
/* Does a rule, group or approval go by this agent name? */
bool policy_names(const struct policy *policy, const char *name);
const struct policy_named *policy_host(const struct policy *policy, const char *word);
const struct policy_named *policy_tag(const struct policy *policy, const char *tag);

#endif
