/*
 * Joining neighbours until no pair may be joined, best rank first, the leftmost
 * of equals: see vocab_state.h.
 *
 * A word is a handful of letters: there the best pair is looked for from left
 * to right. Longer runs go through a heap of pairs, in which those that are out
 * of date are known by their length: O(n log n).
 */
#include <stdlib.h>
#include <string.h>

#include "common/model/vocab_state.h"

enum { SHORT = 40 };
#define NO_PAIR UINT32_MAX

struct pair {
    uint32_t rank, left, right, n; /* n: bytes of both */
    int32_t id;
};

struct heap {
    struct pair *p; /* owned */
    size_t n;
};

static size_t merge_short(const struct vocab *v, vocab_joins *joins,
                          struct vocab_symbol *s, size_t n)
{
    uint32_t rank[SHORT];
    int32_t made[SHORT];
    for (size_t i = 0; i + 1 < n; i++)
        if (!joins(v, &s[i], &s[i + 1], &rank[i], &made[i])) rank[i] = NO_PAIR;
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NO_PAIR) break;
        s[best].n += s[best + 1].n;
        s[best].id = made[best];
        size_t tail = n - best - 2;
        memmove(&s[best + 1], &s[best + 2], tail * sizeof *s);
        if (tail > 0) {
            memmove(&rank[best], &rank[best + 1], tail * sizeof *rank);
            memmove(&made[best], &made[best + 1], tail * sizeof *made);
        }
        n--;
        if (best + 1 < n &&
            !joins(v, &s[best], &s[best + 1], &rank[best], &made[best]))
            rank[best] = NO_PAIR;
        if (best > 0 &&
            !joins(v, &s[best - 1], &s[best], &rank[best - 1], &made[best - 1]))
            rank[best - 1] = NO_PAIR;
    }
    return n;
}

static int before(const struct pair *a, const struct pair *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static void push(struct heap *h, struct pair x)
{
    size_t i = h->n++;
    while (i > 0 && before(&x, &h->p[(i - 1) / 2])) {
        h->p[i] = h->p[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->p[i] = x;
}

static struct pair pop(struct heap *h)
{
    struct pair top = h->p[0], x = h->p[--h->n];
    size_t i = 0;
    for (size_t k = 1; k < h->n; k = 2 * i + 1) {
        if (k + 1 < h->n && before(&h->p[k + 1], &h->p[k])) k++;
        if (!before(&h->p[k], &x)) break;
        h->p[i] = h->p[k];
        i = k;
    }
    if (h->n > 0) h->p[i] = x;
    return top;
}

static void offer(const struct vocab *v, vocab_joins *joins,
                  const struct vocab_symbol *s, uint32_t left, uint32_t right,
                  struct heap *h)
{
    struct pair x = {.left = left, .right = right};
    if (!joins(v, &s[left], &s[right], &x.rank, &x.id)) return;
    x.n = s[left].n + s[right].n;
    push(h, x);
}

/* Each join takes one pair and offers two: 3 n pairs at most. */
static enum tacit_err merge_long(const struct vocab *v, vocab_joins *joins,
                                 struct vocab_symbol *s, size_t *n)
{
    struct heap h = {.p = calloc(3 * *n, sizeof *h.p)};
    const uint32_t none = UINT32_MAX;
    if (!h.p) return fail(TACIT_NOMEM, "no memory to cut a text into tokens");
    for (size_t i = 0; i < *n; i++) {
        s[i].prev = i ? (uint32_t)i - 1 : none;
        s[i].next = i + 1 < *n ? (uint32_t)i + 1 : none;
    }
    for (size_t i = 0; i + 1 < *n; i++)
        offer(v, joins, s, (uint32_t)i, (uint32_t)i + 1, &h);
    while (h.n > 0) {
        struct pair x = pop(&h);
        struct vocab_symbol *l = &s[x.left], *r = &s[x.right];
        if (l->n == 0 || r->n == 0 || l->n + r->n != x.n || l->next != x.right)
            continue;
        l->n = x.n;
        l->id = x.id;
        l->next = r->next;
        r->n = 0;
        if (l->next != none) s[l->next].prev = x.left;
        if (l->prev != none) offer(v, joins, s, l->prev, x.left, &h);
        if (l->next != none) offer(v, joins, s, x.left, l->next, &h);
    }
    size_t k = 0;
    for (uint32_t i = 0; i != none; i = s[i].next) s[k++] = s[i];
    *n = k;
    free(h.p);
    return TACIT_OK;
}

enum tacit_err vocab_merge_all(const struct vocab *v, vocab_joins *joins,
                               struct vocab_symbol *s, size_t *n)
{
    if (*n > SHORT) return merge_long(v, joins, s, n);
    if (*n > 1) *n = merge_short(v, joins, s, *n);
    return TACIT_OK;
}
