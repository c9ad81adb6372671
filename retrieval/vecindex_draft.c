/*
 * Segments as a transaction has changed them, in memory until it ends: a
 * transaction that adds many rows changes the last segments of the same lists
 * again and again, and each time SQLite would seek them anew.
 *
 *   first patch of a segment by a row that is added --> a draft, read whole
 *   (rows that are deleted lie anywhere, and seldom meet)
 *   reads, patches, writes of it --> the draft alone
 *   COMMIT, SAVEPOINT, a command, too many drafts --> the table, by rising key
 *   ROLLBACK, ROLLBACK TO, a segment's end --> forgotten
 *
 * A segment that is not in the table has no draft: which there are, the table
 * always says. There are none without BEGIN, where every row is a transaction,
 * and none where the lists are many.
 */
#include <stdlib.h>
#include <string.h>

#include "retrieval/vecindex_table.h"

enum {
    DRAFTS_MAX = 2048,
    BYTES_MAX = 16 << 20,
    SLOTS = 4 * DRAFTS_MAX, /* of the table of keys; a power of two */
    /* Of more lists, a transaction seldom changes one again while its two
     * segments are drafts: to copy them whole costs more than it spares. */
    LISTS_MAX = DRAFTS_MAX / 2
};
_Static_assert((SLOTS & (SLOTS - 1)) == 0, "its places wrap around");

/* Bytes [from, to) are not in the table yet; where it has other many, none. */
struct draft {
    int64_t key;
    uint8_t *data; /* [n] owned */
    size_t n, from, to;
    bool is_resized;
};

struct vecindex_drafts {
    struct draft at[DRAFTS_MAX];
    size_t n, bytes;
    uint16_t slot[SLOTS]; /* 1 + place in `at`, open addressing; 0 = none */
};

static size_t slot_of(const struct vecindex_drafts *d, int64_t key)
{
    size_t i = (size_t)((uint64_t)key * UINT64_C(0x9e3779b97f4a7c15) >> 32);
    while (d->slot[i % SLOTS] && d->at[d->slot[i % SLOTS] - 1].key != key) i++;
    return i % SLOTS;
}

static struct draft *find(const struct vecindex_table *t, int64_t key)
{
    struct vecindex_drafts *d = t->drafts;
    if (!d || !d->n) return NULL;
    size_t i = d->slot[slot_of(d, key)];
    return i ? &d->at[i - 1] : NULL;
}

bool vecindex_draft_read(const struct vecindex_table *t, int64_t key,
                         const void **data, size_t *n)
{
    const struct draft *d = find(t, key);
    if (!d || !d->data) return false;
    *data = d->data;
    *n = d->n;
    return true;
}

void vecindex_drafts_drop(struct vecindex_table *t)
{
    struct vecindex_drafts *d = t->drafts;
    t->drafts = NULL;
    for (size_t i = 0; d && i < d->n; i++) free(d->at[i].data);
    free(d);
}

static int by_key(const void *a, const void *b)
{
    const struct draft *const *x = a, *const *y = b;
    return (*x)->key < (*y)->key ? -1 : (*x)->key > (*y)->key;
}

static enum tacit_err write_all(struct vecindex_table *t)
{
    struct draft *all[DRAFTS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < t->drafts->n; i++)
        if (t->drafts->at[i].from < t->drafts->at[i].to)
            all[n++] = &t->drafts->at[i];
    /* cppcheck-suppress uninitvar ; the first n are set */
    qsort(all, n, sizeof(*all), by_key);
    for (size_t i = 0; i < n; i++) {
        struct draft *d = all[i];
        TRY(d->is_resized
                ? vecindex_store_write(t, d->key, d->data, d->n)
                : vecindex_blob_patch(t, d->key, d->from, d->to - d->from,
                                      d->data + d->from));
        d->from = d->to = 0;
        d->is_resized = false;
    }
    return TACIT_OK;
}

enum tacit_err vecindex_drafts_write(struct vecindex_table *t)
{
    bool was_inside = t->is_inside;
    if (!t->drafts) return TACIT_OK;
    enum tacit_err err = write_all(t);
    t->is_inside = was_inside;
    return err;
}

bool vecindex_drafts_wanted(const struct vecindex_table *t)
{
    return t->adds && t->n_heads <= LISTS_MAX && !sqlite3_get_autocommit(t->db);
}

/* Room for a draft of n bytes. */
static enum tacit_err reserve(struct vecindex_table *t, size_t n)
{
    const struct vecindex_drafts *d = t->drafts;
    if (d && (d->n == DRAFTS_MAX || d->bytes + n > BYTES_MAX)) {
        TRY(vecindex_drafts_write(t));
        vecindex_drafts_drop(t);
    }
    if (!t->drafts) t->drafts = calloc(1, sizeof *t->drafts);
    return t->drafts ? TACIT_OK : fail(TACIT_NOMEM, "out of memory");
}

enum tacit_err vecindex_draft_begin(struct vecindex_table *t, int64_t key,
                                    size_t n, const void *data)
{
    TRY(reserve(t, n));
    struct vecindex_drafts *d = t->drafts;
    uint16_t *slot = &d->slot[slot_of(d, key)];
    if (!*slot) {
        d->at[d->n].key = key;
        *slot = (uint16_t)++d->n;
    }
    struct draft *new = &d->at[*slot - 1];
    new->data = malloc(n);
    if (!new->data) return fail(TACIT_NOMEM, "out of memory");
    memcpy(new->data, data, n);
    new->n = n;
    d->bytes += n;
    return TACIT_OK;
}

bool vecindex_draft_patch(struct vecindex_table *t, int64_t key, size_t from,
                          size_t n, const void *data)
{
    struct draft *d = find(t, key);
    if (!d || !d->data || from + n > d->n) return false;
    memcpy(d->data + from, data, n);
    if (d->from == d->to) d->from = from;
    if (from < d->from) d->from = from;
    if (from + n > d->to) d->to = from + n;
    return true;
}

bool vecindex_draft_write(struct vecindex_table *t, int64_t key,
                          const void *data, size_t n)
{
    struct draft *d = find(t, key);
    if (!d || !d->data) return false;
    if (n != d->n) {
        uint8_t *resized = realloc(d->data, n);
        if (!resized) return false; /* the caller writes it: see _end() */
        t->drafts->bytes += n - d->n;
        d->data = resized;
        d->n = n;
        d->is_resized = true;
    }
    return vecindex_draft_patch(t, key, 0, n, data);
}

void vecindex_draft_end(struct vecindex_table *t, int64_t key)
{
    struct draft *d = find(t, key);
    if (!d || !d->data) return;
    t->drafts->bytes -= d->n;
    free(d->data);
    *d = (struct draft){.key = key};
}
