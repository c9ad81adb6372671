/* Lookup by text: see vocab_state.h. */
#include <stdlib.h>
#include <string.h>

#include "common/model/vocab_state.h"

static uint32_t hash(const char *s, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ n;
    while (n >= 8) {
        uint64_t v;
        memcpy(&v, s, 8);
        h = (h ^ v) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
        s += 8;
        n -= 8;
    }
    uint64_t v = 0;
    memcpy(&v, s, n);
    h = (h ^ v) * 0xff51afd7ed558ccdu;
    return (uint32_t)(h >> 32);
}

enum tacit_err vocab_table_make(struct vocab *v, struct vocab_table *t,
                                size_t n)
{
    size_t cap = 64;
    while (cap < 2 * n + 2) cap *= 2;
    TRY(arena_alloc_raw(&v->arena, cap, sizeof *t->slot, &t->slot));
    memset(t->slot, 0xff, cap * sizeof *t->slot);
    t->mask = (uint32_t)(cap - 1);
    return TACIT_OK;
}

void vocab_table_put(const struct vocab *v, struct vocab_table *t, int32_t id)
{
    const struct vocab_entry *e = &v->token[id];
    uint32_t i = hash(e->text, e->n) & t->mask;
    for (; t->slot[i] >= 0; i = (i + 1) & t->mask) {
        const struct vocab_entry *o = &v->token[t->slot[i]];
        if (o->n == e->n && memcmp(o->text, e->text, e->n) == 0) return;
    }
    t->slot[i] = id;
}

int32_t vocab_table_find(const struct vocab *v, const struct vocab_table *t,
                         const char *text, size_t n)
{
    if (!t->slot) return VOCAB_NONE;
    for (uint32_t i = hash(text, n) & t->mask; t->slot[i] >= 0;
         i = (i + 1) & t->mask) {
        const struct vocab_entry *o = &v->token[t->slot[i]];
        if (o->n == n && memcmp(o->text, text, n) == 0) return t->slot[i];
    }
    return VOCAB_NONE;
}

/* ---- trie --------------------------------------------------------------- */

static void place(struct vocab_trie *t, uint64_t key, uint32_t next)
{
    uint32_t i = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 32) & t->mask;
    while (t->key[i]) i = (i + 1) & t->mask;
    t->key[i] = key;
    t->next[i] = next;
}

/* Twice the slots: all keys find a new place. */
static enum tacit_err rehash(struct vocab_trie *t, uint32_t n_slots)
{
    struct vocab_trie wider = {.mask = n_slots - 1};
    wider.key = calloc(n_slots, sizeof *wider.key);
    wider.next = calloc(n_slots, sizeof *wider.next);
    if (!wider.key || !wider.next) {
        free(wider.key);
        free(wider.next);
        return fail(TACIT_NOMEM, "no memory for a vocabulary");
    }
    for (uint32_t i = 0; t->key && i <= t->mask; i++)
        if (t->key[i]) place(&wider, t->key[i], t->next[i]);
    free(t->key);
    free(t->next);
    t->key = wider.key;
    t->next = wider.next;
    t->mask = wider.mask;
    return TACIT_OK;
}

/* Room for one more node; at most half of the slots are taken. */
static enum tacit_err grow(struct vocab_trie *t)
{
    if (t->n_nodes < t->cap_nodes) return TACIT_OK;
    uint32_t cap = t->cap_nodes ? t->cap_nodes * 2 : 256;
    if (cap > 1u << 28) return fail(TACIT_LIMIT, "a vocabulary is too large");
    int32_t *end = realloc(t->end, cap * sizeof *end);
    if (!end) return fail(TACIT_NOMEM, "no memory for a vocabulary");
    t->end = end;
    TRY(rehash(t, 2 * cap));
    t->cap_nodes = cap;
    return TACIT_OK;
}

enum tacit_err vocab_trie_put(struct vocab_trie *t, const char *text, size_t n,
                              int32_t id)
{
    uint32_t node = 0;
    TRY(grow(t));
    if (t->n_nodes == 0) t->end[t->n_nodes++] = VOCAB_NONE;
    for (size_t i = 0; i < n; i++) {
        uint32_t next = vocab_trie_step(t, node, (uint8_t)text[i]);
        if (next == 0) {
            TRY(grow(t));
            next = t->n_nodes++;
            t->end[next] = VOCAB_NONE;
            place(t, ((uint64_t)node << 8 | (uint8_t)text[i]) + 1, next);
        }
        node = next;
    }
    if (t->end[node] < 0) t->end[node] = id;
    return TACIT_OK;
}

int32_t vocab_trie_longest(const struct vocab_trie *t, const char *text,
                           size_t n, size_t *out_len)
{
    int32_t best = VOCAB_NONE;
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        node = vocab_trie_step(t, node, (uint8_t)text[i]);
        if (node == 0) break;
        if (t->end[node] < 0) continue;
        best = t->end[node];
        *out_len = i + 1;
    }
    return best;
}

void vocab_trie_release(struct vocab_trie *t)
{
    free(t->key);
    free(t->next);
    free(t->end);
    *t = (struct vocab_trie){0};
}
