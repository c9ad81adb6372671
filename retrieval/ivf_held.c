/*
 * Entries that are held back until there are many: those of a list are then
 * written together, so that each of its pages is found and written once.
 *
 *   insert --nearest lists--> its place is written, entry and copy are held
 *   BYTES_MAX of them, half a list for one list, ivf_held_write()
 *          --sorted by list--> copies, entries, rows of one list, of the next
 *          --> lists that reach over their limit are split
 *
 * They are encoded against centroids, and their places say where they will be:
 * while some are held, nothing else may be read or changed.
 */
#include "retrieval/ivf_state.h"

#include <stdlib.h>

#include "common/base/codes.h"

enum { ROOM_FIRST = 64, BYTES_MAX = 16 << 20 };

/* Behind it its words [columns], bits [width / 8] and, unless it is a copy, its
 * row. */
struct held {
    int64_t id, part;
    uint32_t list, first; /* where it goes; where its row is */
    size_t slot;          /* in its list, once it is there */
    struct rabitq_entry scalars;
    bool is_copy;
};

struct parts {
    int64_t *words;
    uint8_t *bits, *row;
};

/* Bytes of one, a multiple of what its numbers are aligned to. */
static size_t bytes_each(const struct ivf_shape *s)
{
    size_t n = sizeof(struct held) + 8 * s->columns + s->width / 8 + s->row;
    return (n + sizeof(int64_t) - 1) / sizeof(int64_t) * sizeof(int64_t);
}

static struct held *held_at(const struct ivf *ix, size_t i)
{
    return (void *)((uint8_t *)ix->held.data + i * bytes_each(&ix->shape));
}

static struct parts parts_of(const struct ivf *ix, struct held *h)
{
    struct parts p = {.words = (void *)(h + 1)};
    p.bits = (uint8_t *)(p.words + ix->shape.columns);
    p.row = p.bits + ix->shape.width / 8;
    return p;
}

size_t ivf_held_bytes(const struct ivf *ix)
{
    return ix->held.room * (bytes_each(&ix->shape) + sizeof *ix->held.order);
}

/* ---- held ---------------------------------------------------------------- */

/* Room for one more. */
static enum tacit_err reserve(struct ivf *ix)
{
    struct ivf_held *h = &ix->held;
    size_t room = h->room > 0 ? 2 * h->room : ROOM_FIRST;
    size_t most = BYTES_MAX / bytes_each(&ix->shape);
    if (h->n < h->room) return TACIT_OK;
    if (h->room < most && room > most) room = most;
    void *data = realloc(h->data, room * bytes_each(&ix->shape));
    if (data == NULL) return fail(TACIT_NOMEM, "no memory for held rows");
    h->data = data;
    uint64_t *order = realloc(h->order, room * sizeof *order);
    if (order == NULL) return fail(TACIT_NOMEM, "no memory for held rows");
    h->order = order;
    h->room = room;
    return TACIT_OK;
}

enum tacit_err ivf_held_add(struct ivf *ix, int64_t part, uint32_t first,
                            uint32_t list, const struct ivf_entry *e,
                            const uint8_t *row)
{
    struct ivf_held *h = &ix->held;
    const struct ivf_shape *s = &ix->shape;
    TRY(reserve(ix));
    struct held *new = held_at(ix, h->n++);
    *new = (struct held){.id = e->id,
                         .part = part,
                         .list = list,
                         .first = first,
                         .scalars = e->scalars,
                         .is_copy = row == NULL};
    struct parts p = parts_of(ix, new);
    memcpy(p.words, e->words, s->columns * sizeof *p.words);
    memcpy(p.bits, e->bits, s->width / 8);
    if (row != NULL) memcpy(p.row, row, s->row);
    size_t share = ++h->share[list % IVF_TAILS];
    if (share >= s->list_max / 2 || share == UINT8_MAX ||
        h->n >= BYTES_MAX / bytes_each(s))
        h->is_full = true;
    return TACIT_OK;
}

void ivf_held_drop(struct ivf *ix)
{
    struct ivf_held *h = &ix->held;
    for (size_t i = 0; i < h->n; i++)
        h->share[held_at(ix, i)->list % IVF_TAILS] = 0;
    h->n = 0;
    h->is_full = false;
}

void ivf_held_free(struct ivf *ix)
{
    free(ix->held.data);
    free(ix->held.order);
}

/* ---- written ------------------------------------------------------------- */

/* What an entry is sorted by: its list, a copy first, when it came. */
enum { ORDER_LIST = 32, ORDER_FIRST = 31 };

static int by_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void sort(struct ivf *ix)
{
    struct ivf_held *h = &ix->held;
    for (size_t i = 0; i < h->n; i++) {
        const struct held *e = held_at(ix, i);
        h->order[i] = (uint64_t)e->list << ORDER_LIST |
                      (uint64_t)!e->is_copy << ORDER_FIRST | i;
    }
    qsort(h->order, h->n, sizeof *h->order, by_order);
}

/* The k-th of them in order. */
static struct held *ordered(const struct ivf *ix, size_t k)
{
    return held_at(ix, ix->held.order[k] & INT32_MAX);
}

/* Without its row. A copy for which there is no room is none. */
static enum tacit_err entry_write(struct ivf *ix, struct held *h)
{
    struct parts p = parts_of(ix, h);
    struct ivf_entry e = {.id = h->id,
                          .words = p.words,
                          .bits = p.bits,
                          .scalars = h->scalars};
    uint32_t lists[2] = {h->first, 0};
    bool added;
    if (!h->is_copy) return ivf_list_enter(ix, h->list, &e, &h->slot);
    TRY(ivf_list_copy(ix, h->list, &e, &added));
    if (added) return TACIT_OK;
    return ix->store->place_write(ix->store->ctx, h->id, lists);
}

/* Those of one list, [from, end) in order. */
static enum tacit_err list_write(struct ivf *ix, size_t from, size_t end)
{
    for (size_t k = from; k < end; k++) TRY(entry_write(ix, ordered(ix, k)));
    for (size_t k = from; k < end; k++) {
        struct held *h = ordered(ix, k);
        if (h->is_copy) continue;
        TRY(ivf_row_put(ix, h->list, h->slot, parts_of(ix, h).row));
    }
    return TACIT_OK;
}

/* Into as many lists as it takes, while that makes it shorter. */
static enum tacit_err list_split(struct ivf *ix, const struct held *last)
{
    struct ivf_tree *t;
    size_t slots = last->slot + 1, before = SIZE_MAX;
    TRY(ivf_tree_get(ix, last->part, &t));
    while (slots > ivf_list_limit(ix, t) && slots < before) {
        before = slots;
        TRY(ivf_split(ix, t, last->list));
        TRY(ivf_list_slots(ix, last->list, &slots));
    }
    return TACIT_OK;
}

static enum tacit_err write_all(struct ivf *ix)
{
    size_t n = ix->held.n, n_lists = 0;
    sort(ix);
    for (size_t from = 0, end; from < n; from = end) {
        uint32_t list = ordered(ix, from)->list;
        for (end = from + 1; end < n; end++)
            if (ordered(ix, end)->list != list) break;
        TRY(list_write(ix, from, end));
        if (!ordered(ix, end - 1)->is_copy)
            ix->held.order[n_lists++] = ix->held.order[end - 1];
    }
    for (size_t i = 0; i < n_lists; i++) TRY(list_split(ix, ordered(ix, i)));
    return TACIT_OK;
}

enum tacit_err ivf_held_write(struct ivf *ix)
{
    enum tacit_err err = ix->held.n > 0 ? write_all(ix) : TACIT_OK;
    ivf_held_drop(ix);
    return err;
}
