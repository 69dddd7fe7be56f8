/*
 * list.h - doubly linked list whose links live in the members. The head is a node too.
 */
#ifndef CORE_LIB_LIST_H
#define CORE_LIB_LIST_H

#include "util.h"

struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *head)
{
	head->prev = head->next = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_add_tail(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* Safe to call twice: a removed node points to itself. */
static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* `var` (a pointer to the containing struct) walks the list; the body may not remove it. */
#define list_each(var, head, member)                                                               \
	for ((var) = container_of((head)->next, __typeof__(*(var)), member);                       \
	     &(var)->member != (head);                                                             \
	     (var) = container_of((var)->member.next, __typeof__(*(var)), member))

/* The same; the body may remove and free `var`. */
#define list_each_safe(var, tmp, head, member)                                                     \
	for ((var) = container_of((head)->next, __typeof__(*(var)), member),                       \
	    (tmp) = container_of((var)->member.next, __typeof__(*(var)), member);                  \
	     &(var)->member != (head);                                                             \
	     (var) = (tmp), (tmp) = container_of((tmp)->member.next, __typeof__(*(var)), member))

#endif
