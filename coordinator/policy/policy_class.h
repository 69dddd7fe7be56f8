/*
 * policy_class.h - agents that a policy cannot tell apart are one class: who sees whom, and what their
 * firewalls accept, is worked out once for each pair of classes and not for each pair of agents. Pure:
 * it knows of members only what is put into struct policy_who.
 *
 * A class is what the policy's own words say of an agent in its network: those of its names and tags
 * that the policy mentions, the narrowest CIDR of the policy around each of its addresses, and the
 * parts of the address space (atoms) that its approved routes reach into. Its id stays what it is from
 * one policy to the next as long as these stay.
 */
#ifndef COORDINATOR_POLICY_CLASS_H
#define COORDINATOR_POLICY_CLASS_H

#include "policy.h"
#include "lib/list.h"
#include "lib/map.h"
#include "lib/proto.h"

/* ---- what a policy mentions (policy_index.c) ----------------------------------------------- */

struct atom { /* addresses in this prefix and in no narrower atom: the policy treats them alike */
	struct prefix prefix;
	int parent;          /* -1: none; parents come before their children */
	uint64_t *from, *to; /* a bit for each rule that fits; one block of memory */
};

struct policy_index {
	const struct policy *policy; /* borrowed */
	unsigned words;              /* of 64 rules */
	struct map *names, *tags, *networks; /* to rows: bits of rules that fit as from, then as to */
	uint64_t *any, *self;                /* rows too */
	struct atom *atoms;                  /* in order; 0.0.0.0/0 and ::/0 are always among them */
	unsigned atom_count;
};

struct policy_index *policy_index_new(const struct policy *policy);
void policy_index_free(struct policy_index *index);
int policy_index_atom(const struct policy_index *index, const struct prefix *inner); /* the narrowest around it */
/* The first of those inside it, itself not: they follow each other, and there may be none. */
unsigned policy_index_inside(const struct policy_index *index, const struct prefix *outer);
/* Adds the rules that fit it to 2 * words words; `self` fits nobody here. */
void policy_index_rows(const struct policy_index *index, const struct party *party, uint64_t *rows);

/* ---- classes of one network ------------------------------------------------------------------ */

struct point { /* what a class can be at one end of a packet: an address of its own, or an atom */
	uint8_t family;
	int atom; /* -1: its own address */
	const uint64_t *from, *to;
};

struct class {
	uint32_t id;   /* never 0; unique in its network for the life of the process */
	unsigned slot; /* place in its table */
	char *key;
	struct point *points; /* its own addresses first */
	unsigned point_count, own_count;
	const struct point **kinds; /* of those that fit the same rules, one */
	unsigned kind_count;
	uint64_t *own;        /* bits of rules: from4, to4, from6, to6 */
	uint64_t *sees;       /* bits of slots */
	unsigned sees_words;
	struct class **seen;  /* the same as a list; it may be in its own */
	unsigned seen_count;
	struct list members;  /* for its owner: in_class of struct member; */
	struct list dirty;    /* sync's: changes of members wait to be told, */
	bool dirty_rules;     /* or its own rules; */
	uint64_t changed, changed_rules; /* sync's: revisions of the last ones */
	unsigned member_count;
	char *rules;          /* as they were told to its agents, or NULL */
};

struct classes {
	const struct policy_index *index; /* borrowed */
	char network[PROTO_NAME_MAX];
	struct prefix ranges[2]; /* of the network; family 0: none */
	struct class **all;
	unsigned count;
	uint32_t next_id;
	bool blind; /* who sees whom is not worked out */
	const struct classes *before; /* whose ids are taken over; NULL it before that one is freed */
	struct map *by_key;
};

struct policy_who {
	const char *name;
	const json_t *tags;          /* may be NULL */
	struct addr addresses[2];    /* IPv4 and IPv6; family 0: none */
	const struct prefix *routes; /* approved */
	unsigned route_count;
};

/* Ids are taken over from `before`, which may be NULL, where the key is the same. */
struct classes *classes_new(const struct policy_index *index, const char *network,
			    const struct prefix *cidr, const struct prefix *cidr6,
			    const struct classes *before);
void classes_free(struct classes *classes); /* without members */
/* The class of this one, made if it is the first of it (*made). */
struct class *classes_find(struct classes *classes, const struct policy_who *who, bool *made);
/* May anything pass, in one direction at least? Both of one table. */
bool class_sees(const struct class *a, const struct class *b);
/* What may pass between agents' own addresses, in either family. Returns what it cost, in steps of some ns. */
unsigned class_accepts(const struct classes *classes, const struct class *from, const struct class *to,
		   struct ports *out);

/* ---- for an agent's firewall (policy_compile.c) ------------------------------------------------ */

/* What agents of this class accept: *out in new memory, each for proto_rule_fini. */
unsigned class_compile(const struct classes *classes, const struct class *class, struct proto_rule **out);
json_t *class_rules_json(const struct classes *classes, const struct class *class);
/* The same as text, kept in class->rules until the owner frees that. */
const char *class_rules(const struct classes *classes, struct class *class);

/* ---- shared between policy_class.c and policy_compile.c ------------------------------------------ */
unsigned points_accept(const struct policy_index *index, const struct point *from, const struct point *to,
		   struct ports *out);
bool atom_in_network(const struct classes *classes, int atom);

#endif
