/*
 * memory_store: an ivf_store in memory, for tests. Blobs that it hands out are
 * exact allocations, so that a sanitizer sees a read too far. It counts calls,
 * and fails the n-th when asked.
 */
#ifndef TACIT_TESTS_RETRIEVAL_MEMORY_STORE_H
#define TACIT_TESTS_RETRIEVAL_MEMORY_STORE_H

#include <stdlib.h>
#include <string.h>

#include "retrieval/ivf.h"

struct memory_blob {
    void *data; /* NULL = none */
    size_t n;
};

struct memory_list {
    int64_t part;
    struct memory_blob head;
    struct memory_blob *segs;
    size_t n_segs;
};

struct memory_row {
    int64_t id;
    bool used, placed;
    uint32_t lists[2];
};

struct memory_store {
    struct ivf_store store;
    struct memory_blob meta;
    struct memory_list *lists; /* by number */
    size_t n_lists;
    struct memory_row *rows; /* open addressing; a power of two */
    size_t n_rows, room_rows;
    size_t *order; /* rows by rising id, while they are walked */
    size_t n_order, at_order;
    uint32_t at_list, at_head;
    size_t at_seg;
    int64_t part;
    bool all_parts, walking_segs;
    size_t calls, fail_at; /* the call that fails, 0 = none */
    size_t seg_writes, seg_reads, seg_patches, place_writes;
    uint64_t writes; /* of anything */
};

static inline enum tacit_err memory_call(struct memory_store *m)
{
    if (++m->calls == m->fail_at) return fail(TACIT_IO, "told to fail");
    return TACIT_OK;
}

static inline enum tacit_err memory_put(struct memory_blob *b, const void *data,
                                        size_t n)
{
    void *copy = malloc(n > 0 ? n : 1);
    if (copy == NULL) return fail(TACIT_NOMEM, "no memory");
    memcpy(copy, data, n);
    free(b->data);
    *b = (struct memory_blob){copy, n};
    return TACIT_OK;
}

static inline void memory_drop(struct memory_blob *b)
{
    free(b->data);
    *b = (struct memory_blob){NULL, 0};
}

static inline struct memory_list *memory_list(struct memory_store *m,
                                              uint32_t list)
{
    if (list >= m->n_lists) {
        size_t n = 2 * (size_t)list + 16;
        m->lists = realloc(m->lists, n * sizeof *m->lists);
        memset(m->lists + m->n_lists, 0, (n - m->n_lists) * sizeof *m->lists);
        m->n_lists = n;
    }
    return &m->lists[list];
}

static inline struct memory_row *memory_row(struct memory_store *m, int64_t id);

static inline void memory_grow(struct memory_store *m)
{
    struct memory_row *old = m->rows;
    size_t room = m->room_rows;
    m->room_rows = room ? 2 * room : 1024;
    m->rows = calloc(m->room_rows, sizeof *m->rows);
    m->n_rows = 0;
    for (size_t i = 0; i < room; i++)
        if (old[i].used && old[i].placed) *memory_row(m, old[i].id) = old[i];
    free(old);
}

/* The place for id, made when there is none. */
static inline struct memory_row *memory_row(struct memory_store *m, int64_t id)
{
    if (2 * m->n_rows >= m->room_rows) memory_grow(m);
    size_t i = (size_t)(((uint64_t)id * 0x9e3779b97f4a7c15U) >> 20);
    for (;; i++) {
        struct memory_row *r = &m->rows[i & (m->room_rows - 1)];
        if (r->used && r->id == id) return r;
        if (r->used) continue;
        *r = (struct memory_row){.id = id, .used = true};
        m->n_rows++;
        return r;
    }
}

static inline enum tacit_err memory_meta_read(void *ctx, const void **data,
                                              size_t *n)
{
    struct memory_store *m = ctx;
    *data = m->meta.data;
    *n = m->meta.n;
    return memory_call(m);
}

static inline enum tacit_err memory_meta_write(void *ctx, const void *data,
                                               size_t n)
{
    struct memory_store *m = ctx;
    m->writes++;
    TRY(memory_call(m));
    return memory_put(&m->meta, data, n);
}

static inline enum tacit_err memory_heads_begin(void *ctx, const int64_t *part)
{
    struct memory_store *m = ctx;
    m->all_parts = part == NULL;
    m->part = part != NULL ? *part : 0;
    m->at_head = 0;
    return memory_call(m);
}

/* The least (part, list) after the last one, when all are asked for. */
static inline enum tacit_err memory_heads_next(void *ctx, uint32_t *list,
                                               const void **data, size_t *n)
{
    struct memory_store *m = ctx;
    uint32_t best = 0, last = m->at_head;
    TRY(memory_call(m));
    for (uint32_t i = 1; i < m->n_lists; i++) {
        const struct memory_list *l = &m->lists[i];
        if (l->head.data == NULL) continue;
        if (!m->all_parts) {
            if (l->part != m->part || i <= last) continue;
            best = i;
            break;
        }
        if (last != 0 && (l->part < m->lists[last].part ||
                          (l->part == m->lists[last].part && i <= last)))
            continue;
        if (best == 0 || l->part < m->lists[best].part) best = i;
    }
    m->at_head = best;
    *data = NULL;
    if (best == 0) return TACIT_OK;
    *list = best;
    *data = m->lists[best].head.data;
    *n = m->lists[best].head.n;
    return TACIT_OK;
}

static inline void memory_heads_end(void *ctx)
{
    (void)ctx;
}

static inline enum tacit_err memory_heads_count(void *ctx, uint64_t *n)
{
    struct memory_store *m = ctx;
    *n = 0;
    for (uint32_t i = 1; i < m->n_lists; i++)
        *n += m->lists[i].head.data != NULL;
    return memory_call(m);
}

static inline enum tacit_err memory_head_read(void *ctx, uint32_t list,
                                              const void **data, size_t *n)
{
    struct memory_store *m = ctx;
    *data = memory_list(m, list)->head.data;
    *n = memory_list(m, list)->head.n;
    return memory_call(m);
}

static inline enum tacit_err memory_head_write(void *ctx, uint32_t list,
                                               int64_t part, const void *data,
                                               size_t n)
{
    struct memory_store *m = ctx;
    m->writes++;
    TRY(memory_call(m));
    memory_list(m, list)->part = part;
    return memory_put(&memory_list(m, list)->head, data, n);
}

static inline enum tacit_err memory_head_delete(void *ctx, uint32_t list)
{
    struct memory_store *m = ctx;
    m->writes++;
    memory_drop(&memory_list(m, list)->head);
    return memory_call(m);
}

static inline enum tacit_err memory_segs_begin(void *ctx, uint32_t list)
{
    struct memory_store *m = ctx;
    if (m->walking_segs) return fail(TACIT_INTERNAL, "a walk inside a walk");
    m->walking_segs = true;
    m->at_list = list;
    m->at_seg = 0;
    return memory_call(m);
}

static inline enum tacit_err memory_segs_next(void *ctx, uint32_t *seg,
                                              const void **data, size_t *n)
{
    struct memory_store *m = ctx;
    struct memory_list *l = memory_list(m, m->at_list);
    TRY(memory_call(m));
    *data = NULL;
    while (m->at_seg < l->n_segs && l->segs[m->at_seg].data == NULL)
        m->at_seg++;
    if (m->at_seg >= l->n_segs) return TACIT_OK;
    *seg = (uint32_t)m->at_seg;
    *data = l->segs[m->at_seg].data;
    *n = l->segs[m->at_seg++].n;
    return TACIT_OK;
}

static inline void memory_segs_end(void *ctx)
{
    struct memory_store *m = ctx;
    m->walking_segs = false;
}

static inline enum tacit_err memory_seg_last(void *ctx, uint32_t list,
                                             uint32_t *seg, const void **data,
                                             size_t *n)
{
    struct memory_store *m = ctx;
    struct memory_list *l = memory_list(m, list);
    *data = NULL;
    for (size_t i = l->n_segs; i-- > 0;)
        if (l->segs[i].data != NULL) {
            *seg = (uint32_t)i;
            *data = l->segs[i].data;
            *n = l->segs[i].n;
            break;
        }
    return memory_call(m);
}

static inline enum tacit_err memory_seg_write(void *ctx, uint32_t list,
                                              uint32_t seg, const void *data,
                                              size_t n)
{
    struct memory_store *m = ctx;
    struct memory_list *l = memory_list(m, list);
    m->writes++;
    if (m->walking_segs) return fail(TACIT_INTERNAL, "a write inside a walk");
    TRY(memory_call(m));
    m->seg_writes++;
    if (seg >= l->n_segs) {
        size_t room = 2 * (size_t)seg + 8;
        l->segs = realloc(l->segs, room * sizeof *l->segs);
        memset(l->segs + l->n_segs, 0, (room - l->n_segs) * sizeof *l->segs);
        l->n_segs = room;
    }
    return memory_put(&l->segs[seg], data, n);
}

static inline enum tacit_err memory_seg_delete(void *ctx, uint32_t list,
                                               uint32_t seg)
{
    struct memory_store *m = ctx;
    struct memory_list *l = memory_list(m, list);
    m->writes++;
    if (seg < l->n_segs) memory_drop(&l->segs[seg]);
    return memory_call(m);
}

static inline enum tacit_err memory_place_read(void *ctx, int64_t id,
                                               bool *found, uint32_t lists[2])
{
    struct memory_store *m = ctx;
    const struct memory_row *r = memory_row(m, id);
    *found = r->placed;
    if (r->placed) memcpy(lists, r->lists, sizeof r->lists);
    return memory_call(m);
}

static inline enum tacit_err memory_place_write(void *ctx, int64_t id,
                                                const uint32_t lists[2])
{
    struct memory_store *m = ctx;
    struct memory_row *r = memory_row(m, id);
    m->writes++;
    TRY(memory_call(m));
    m->place_writes++;
    r->placed = true;
    memcpy(r->lists, lists, sizeof r->lists);
    return TACIT_OK;
}

static inline enum tacit_err memory_place_delete(void *ctx, int64_t id)
{
    struct memory_store *m = ctx;
    m->writes++;
    memory_row(m, id)->placed = false;
    return memory_call(m);
}

static inline struct memory_store *memory_sorting(struct memory_store *set)
{
    static struct memory_store *m;
    if (set != NULL) m = set;
    return m;
}

static inline int memory_order(const void *a, const void *b)
{
    const struct memory_store *m = memory_sorting(NULL);
    int64_t x = m->rows[*(const size_t *)a].id;
    int64_t y = m->rows[*(const size_t *)b].id;
    return x < y ? -1 : x > y;
}

static inline enum tacit_err memory_places_begin(void *ctx)
{
    struct memory_store *m = ctx;
    free(m->order);
    m->order = malloc((m->room_rows + 1) * sizeof *m->order);
    m->n_order = m->at_order = 0;
    for (size_t i = 0; i < m->room_rows; i++)
        if (m->rows[i].used && m->rows[i].placed) m->order[m->n_order++] = i;
    memory_sorting(m);
    qsort(m->order, m->n_order, sizeof *m->order, memory_order);
    return memory_call(m);
}

static inline enum tacit_err memory_places_next(void *ctx, bool *found,
                                                int64_t *id, uint32_t lists[2])
{
    struct memory_store *m = ctx;
    TRY(memory_call(m));
    *found = m->at_order < m->n_order;
    if (!*found) return TACIT_OK;
    const struct memory_row *r = &m->rows[m->order[m->at_order++]];
    *id = r->id;
    memcpy(lists, r->lists, sizeof r->lists);
    return TACIT_OK;
}

static inline void memory_places_end(void *ctx)
{
    (void)ctx;
}

static inline enum tacit_err memory_list_last(void *ctx, uint32_t *list)
{
    struct memory_store *m = ctx;
    *list = 0;
    for (size_t i = 0; i < m->n_lists; i++)
        for (size_t k = 0; k < m->lists[i].n_segs; k++)
            if (m->lists[i].segs[k].data != NULL) *list = (uint32_t)i;
    return memory_call(m);
}

static inline enum tacit_err memory_seg_read(void *ctx, uint32_t list,
                                             uint32_t seg, const void **data,
                                             size_t *n)
{
    struct memory_store *m = ctx;
    const struct memory_list *l = memory_list(m, list);
    m->seg_reads++;
    *data = seg < l->n_segs ? l->segs[seg].data : NULL;
    *n = *data != NULL ? l->segs[seg].n : 0;
    return memory_call(m);
}

static inline enum tacit_err memory_seg_part(void *ctx, uint32_t list,
                                             uint32_t seg, size_t from,
                                             size_t n, const void **data)
{
    struct memory_store *m = ctx;
    const struct memory_list *l = memory_list(m, list);
    bool reaches = seg < l->n_segs && l->segs[seg].data != NULL &&
                   l->segs[seg].n >= from + n;
    *data = reaches ? (const uint8_t *)l->segs[seg].data + from : NULL;
    return memory_call(m);
}

static inline enum tacit_err memory_seg_patch(void *ctx, uint32_t list,
                                              uint32_t seg, size_t from,
                                              size_t n, const void *data)
{
    struct memory_store *m = ctx;
    const struct memory_list *l = memory_list(m, list);
    m->writes++;
    if (m->walking_segs) return fail(TACIT_INTERNAL, "a write inside a walk");
    TRY(memory_call(m));
    if (seg >= l->n_segs || l->segs[seg].n < from + n)
        return fail(TACIT_INTERNAL, "a patch beyond its segment");
    m->seg_patches++;
    memcpy((uint8_t *)l->segs[seg].data + from, data, n);
    return TACIT_OK;
}

/* A store that reads and writes parts of segments. */
static inline void memory_store_parts(struct memory_store *m)
{
    m->store.seg_part = memory_seg_part;
    m->store.seg_patch = memory_seg_patch;
}

static inline enum tacit_err memory_stamp(void *ctx, uint64_t *stamp)
{
    struct memory_store *m = ctx;
    *stamp = m->writes;
    return memory_call(m);
}

/* A store of which searches keep what they read. */
static inline void memory_store_stamps(struct memory_store *m)
{
    m->store.stamp = memory_stamp;
}

static inline void memory_store_init(struct memory_store *m)
{
    *m = (struct memory_store){.store = {.ctx = m,
                                         .meta_read = memory_meta_read,
                                         .meta_write = memory_meta_write,
                                         .heads_begin = memory_heads_begin,
                                         .heads_next = memory_heads_next,
                                         .heads_end = memory_heads_end,
                                         .heads_count = memory_heads_count,
                                         .head_read = memory_head_read,
                                         .head_write = memory_head_write,
                                         .head_delete = memory_head_delete,
                                         .segs_begin = memory_segs_begin,
                                         .segs_next = memory_segs_next,
                                         .segs_end = memory_segs_end,
                                         .seg_last = memory_seg_last,
                                         .seg_write = memory_seg_write,
                                         .seg_delete = memory_seg_delete,
                                         .place_read = memory_place_read,
                                         .place_write = memory_place_write,
                                         .place_delete = memory_place_delete,
                                         .places_begin = memory_places_begin,
                                         .places_next = memory_places_next,
                                         .places_end = memory_places_end,
                                         .list_last = memory_list_last,
                                         .seg_read = memory_seg_read}};
}

static inline void memory_store_release(struct memory_store *m)
{
    free(m->meta.data);
    for (size_t i = 0; i < m->n_lists; i++) {
        free(m->lists[i].head.data);
        for (size_t k = 0; k < m->lists[i].n_segs; k++)
            free(m->lists[i].segs[k].data);
        free(m->lists[i].segs);
    }
    free(m->lists);
    free(m->rows);
    free(m->order);
}

#endif
