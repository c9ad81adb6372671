#include "retrieval/ivf_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/codes.h"

/* ---- optimise ------------------------------------------------------------ */

/* The partition's tree of a list; *tree NULL when there is no such list. */
static enum tacit_err tree_of(struct ivf *ix, uint32_t list,
                              struct ivf_tree **tree)
{
    const void *data = NULL;
    size_t n = 0;
    *tree = NULL;
    TRY(ix->store->head_read(ix->store->ctx, list, &data, &n));
    if (data == NULL) return TACIT_OK;
    TRY(ivf_head_check(ix, list, data, n));
    return ivf_tree_get(ix, ivf_i64(data), tree);
}

enum tacit_err ivf_optimise(struct ivf *ix, uint64_t budget, bool *done)
{
    TRY(ivf_fresh(ix));
    uint32_t end = ix->count.next_list; /* later lists are fresh */
    while (budget > 0 && ix->count.sweep + 1 < end) {
        struct ivf_tree *tree;
        uint32_t list = ++ix->count.sweep;
        TRY(tree_of(ix, list, &tree));
        if (tree == NULL) continue;
        budget--;
        TRY(ivf_refine(ix, tree, list));
    }
    *done = ix->count.sweep + 1 >= end;
    if (*done) ix->count.sweep = 0;
    return ivf_meta_write(ix);
}

void ivf_watch(struct ivf *ix,
               void (*step)(void *ctx, uint64_t done, uint64_t total),
               void *ctx)
{
    ix->step = step;
    ix->step_ctx = ctx;
}

/* ---- validate ------------------------------------------------------------ */

enum headed { HEADLESS, HEADED };

struct check {
    struct ivf *ix;
    struct ivf_report *report;
    uint32_t list;
    float *c, *x; /* [width] */
    size_t slot;  /* of the next segment of entries */
    uint64_t live_rows;
    bool follows; /* another segment is to stand there */
    enum headed headed;
    int64_t last_part;
};

/* Count a problem; the first is told. */
static void problem(struct check *k, const char *what)
{
    if (k->report->problems++ == 0)
        snprintf(k->report->first, sizeof k->report->first, "list %u: %s",
                 k->list, what);
}

/* Damage is a problem; another error goes on. */
static enum tacit_err judge(struct check *k, enum tacit_err e)
{
    if (e == TACIT_OK || err_id() != E_INDEX_DAMAGED) return e;
    problem(k, err_message());
    err_clear();
    return TACIT_OK;
}

/* The bits of slot i say what its row says, as far as the row tells: an entry
 * is made of the vector as it was given, a row may be rounded to bytes. So bits
 * count where a number is off the centroid by more than a byte's step, and the
 * scalars as closely as the steps leave them. */
static bool code_agrees(const struct check *k, const uint8_t *seg, size_t i)
{
    const struct ivf_shape *s = &k->ix->shape;
    const uint8_t *b = ivf_block(s, seg, i / IVF_BLOCK);
    uint8_t bits[RABITQ_DIM_MAX / 8];
    size_t at = i % IVF_BLOCK;
    float top = 0, r2 = 0, sum_c = 0, open = 0;
    struct rabitq_entry e =
        rabitq_encode(k->ix->metric, k->x, k->c, s->width, bits);
    for (size_t j = 0; j < s->width; j++) {
        float r = k->x[j] - k->c[j];
        if (fabsf(k->x[j]) > top) top = fabsf(k->x[j]);
        if (fabsf(k->c[j]) > top) top = fabsf(k->c[j]);
        r2 += r * r;
        sum_c += fabsf(k->c[j]);
    }
    float step = top / 100;
    for (size_t j = 0; j < s->width; j++) {
        uint8_t is = b[IVF_BLOCK * (j / 8) + at];
        if (!((bits[j / 8] ^ is) >> j % 8 & 1)) continue;
        if (fabsf(k->x[j] - k->c[j]) > step) return false;
        open += 2 * fabsf(k->c[j]); /* what the bit is worth in <b, c> */
    }
    float add = bf16_decode(ivf_u16(b + s->scalars + 2 * at));
    float mul = bf16_decode(ivf_u16(b + s->scalars + 2 * (IVF_BLOCK + at)));
    float mul_want = bf16_decode(e.mul), add_want = bf16_decode(e.add);
    float noise = step * sqrtf((float)s->width);
    if (r2 <= 100 * noise * noise) return true; /* the row is the centroid */
    float share = 0.05F + 4 * noise / sqrtf(r2);
    return fabsf(mul - mul_want) <= share * fabsf(mul_want) &&
           fabsf(add - add_want) <=
               share * (r2 + fabsf(add_want) + fabsf(mul_want) * sum_c) +
                   fabsf(mul_want) * open;
}

static enum tacit_err slot_check(struct check *k, const uint8_t *seg, size_t i,
                                 enum ivf_kind kind)
{
    struct ivf *ix = k->ix;
    const struct ivf_store *s = ix->store;
    int64_t id = ivf_slot_id(&ix->shape, seg, i);
    uint32_t place[2] = {0, 0};
    bool found = false;
    TRY(s->place_read(s->ctx, id, &found, place));
    if (!found || place[kind == IVF_COPIES] != k->list)
        problem(k, "an entry is placed elsewhere");
    if (kind == IVF_COPIES) {
        k->report->second++;
        return TACIT_OK;
    }
    k->report->entries++;
    const uint8_t *row = NULL;
    enum tacit_err e = ivf_list_row(ix, k->list, k->slot + i, id, &row);
    if (e == TACIT_OK) e = ivf_row_rotated(ix, row, k->x);
    if (e == TACIT_OK && !code_agrees(k, seg, i))
        problem(k, "an entry's code is not that of its row");
    return judge(k, e);
}

static enum tacit_err segment_check(struct check *k, uint32_t seg,
                                    const void *data, size_t n)
{
    size_t live = 0;
    bool copies = seg < IVF_SEG_FIRST;
    TRY(ivf_segment_check(k->ix, k->list, seg, data, n));
    k->report->blocks_bytes += n;
    if (!copies && seg - IVF_SEG_FIRST != k->slot / k->ix->shape.slots_max)
        problem(k, "a segment is missing");
    if (!copies) k->slot = (seg - IVF_SEG_FIRST) * k->ix->shape.slots_max;
    if (!copies) k->follows = ivf_followed(data);
    for (size_t i = 0; i < ivf_blocks(data) * IVF_BLOCK; i++) {
        if (!ivf_slot_live(&k->ix->shape, data, i)) continue;
        live++;
        TRY(slot_check(k, data, i, copies ? IVF_COPIES : IVF_FIRST));
    }
    if (live != ivf_live(data)) problem(k, "a segment counts wrongly");
    if (!copies) k->slot += k->ix->shape.slots_max;
    return TACIT_OK;
}

static enum tacit_err entries_visit(void *ctx, uint32_t seg, const void *data,
                                    size_t n)
{
    struct check *k = ctx;
    if (k->headed == HEADED) return judge(k, segment_check(k, seg, data, n));
    problem(k, "segments without a head");
    return TACIT_OK;
}

static enum tacit_err rows_visit(void *ctx, uint32_t seg, const void *data,
                                 size_t n)
{
    struct check *k = ctx;
    const struct ivf_shape *s = &k->ix->shape;
    k->report->blocks_bytes += n;
    enum tacit_err e = ivf_rows_check(k->ix, k->list, seg, data, n);
    if (e != TACIT_OK) return judge(k, e);
    if (k->headed == HEADLESS)
        problem(k, "rows without a head");
    else if (seg * s->rows_max >= k->slot)
        problem(k, "rows behind its last entry");
    for (size_t i = 0; i < ivf_rows_count(data); i++)
        k->live_rows += ivf_f32(ivf_row_at(s, data, i) + 8) > 0;
    return TACIT_OK;
}

static enum tacit_err list_check(struct check *k, enum headed headed)
{
    const struct ivf_store *s = k->ix->store;
    uint64_t entries = k->report->entries;
    k->slot = k->live_rows = 0;
    k->headed = headed;
    k->follows = headed == HEADED && k->ix->count.heads > 0;
    TRY(ivf_segs_walk(s, ivf_entries_of(k->list), entries_visit, k));
    if (k->follows) problem(k, "its last segments are gone");
    TRY(ivf_segs_walk(s, ivf_rows_of(k->list), rows_visit, k));
    if (headed == HEADED && k->live_rows != k->report->entries - entries)
        problem(k, "rows and entries differ in number");
    return TACIT_OK;
}

static enum tacit_err head_check(struct check *k, bool *headed)
{
    struct ivf_tree *tree = NULL;
    const struct ivf_store *s = k->ix->store;
    const void *data = NULL;
    size_t n = 0;
    TRY(s->head_read(s->ctx, k->list, &data, &n));
    *headed = data != NULL;
    if (data == NULL) return TACIT_OK;
    k->report->lists++;
    TRY(ivf_head_check(k->ix, k->list, data, n));
    const uint8_t *b = data;
    const int8_t *codes = (const void *)(b + IVF_HEAD_FIXED);
    for (size_t i = 0; i < k->ix->shape.width; i++)
        k->c[i] = ivf_f32(b + 8) * (float)codes[i];
    TRY(ivf_tree_get(k->ix, ivf_i64(b), &tree));
    size_t at = ivf_tree_find(tree, k->list);
    if (at == SIZE_MAX) problem(k, "a head is not with its partition");
    return TACIT_OK;
}

static enum tacit_err places_check(struct check *k)
{
    const struct ivf_store *s = k->ix->store;
    uint64_t n = 0, second = 0;
    k->list = 0;
    enum tacit_err e = s->places_begin(s->ctx);
    while (e == TACIT_OK) {
        bool found = false;
        int64_t id;
        uint32_t place[2];
        e = s->places_next(s->ctx, &found, &id, place);
        if (e != TACIT_OK || !found) break;
        n++;
        second += place[1] != 0;
    }
    s->places_end(s->ctx);
    k->report->rows = n;
    if (n != k->report->entries)
        problem(k, "ids without an entry, or with two");
    if (second != k->report->second) problem(k, "copies that are not there");
    return e;
}

/* Partitions, from heads in their order. */
static enum tacit_err partition_count(void *ctx, uint32_t list,
                                      const void *data, size_t n)
{
    struct check *k = ctx;
    (void)list;
    if (n < IVF_HEAD_FIXED) return TACIT_OK;
    if (k->report->partitions == 0 || ivf_i64(data) != k->last_part)
        k->report->partitions++;
    k->last_part = ivf_i64(data);
    return TACIT_OK;
}

enum tacit_err ivf_validate(struct ivf *ix, struct ivf_report *report)
{
    struct check k = {.ix = ix, .report = report};
    uint32_t last = 0, end;
    *report = (struct ivf_report){0};
    TRY(ivf_fresh(ix));
    ivf_forget(ix); /* what is stored counts, not what is cached */
    TRY(ivf_fresh(ix));
    arena_reset(&ix->arena);
    TRY(arena_alloc(&ix->arena, ix->shape.width, sizeof *k.c, &k.c));
    TRY(arena_alloc(&ix->arena, ix->shape.width, sizeof *k.x, &k.x));
    TRY(ix->store->list_last(ix->store->ctx, &last));
    end = ix->count.next_list;
    if (last / 2 >= end) problem(&k, "segments of lists that never were");
    TRY(ivf_heads_walk(ix->store, NULL, partition_count, &k));
    for (k.list = 1; k.list < end; k.list++) {
        bool headed = false;
        if (ix->step != NULL) ix->step(ix->step_ctx, k.list, end);
        TRY(judge(&k, head_check(&k, &headed)));
        TRY(list_check(&k, headed ? HEADED : HEADLESS));
    }
    k.list = 0;
    if (ix->count.heads > 0 && report->lists + 1 != ix->count.heads)
        problem(&k, "lists and their number differ");
    return places_check(&k);
}

/* ---- rebuild ------------------------------------------------------------- */

struct numbers {
    size_t n, room;
    int64_t *at;
};

static enum tacit_err numbers_add(struct numbers *a, int64_t v)
{
    if (a->n == a->room) {
        size_t room = a->room ? 2 * a->room : 1024;
        int64_t *at = realloc(a->at, room * sizeof *at);
        if (at == NULL) return fail(TACIT_NOMEM, "no memory to rebuild");
        a->at = at;
        a->room = room;
    }
    a->at[a->n++] = v;
    return TACIT_OK;
}

static enum tacit_err number_visit(void *ctx, uint32_t number, const void *data,
                                   size_t n)
{
    (void)data;
    (void)n;
    return numbers_add(ctx, number);
}

static enum tacit_err heads_delete(struct ivf *ix)
{
    const struct ivf_store *s = ix->store;
    struct numbers lists = {0};
    enum tacit_err e = ivf_heads_walk(s, NULL, number_visit, &lists);
    for (size_t i = 0; e == TACIT_OK && i < lists.n; i++)
        e = s->head_delete(s->ctx, (uint32_t)lists.at[i]);
    free(lists.at);
    return e;
}

static enum tacit_err places_delete(struct ivf *ix)
{
    const struct ivf_store *s = ix->store;
    struct numbers ids = {0};
    enum tacit_err e = s->places_begin(s->ctx);
    while (e == TACIT_OK) {
        bool found = false;
        int64_t id;
        uint32_t place[2];
        e = s->places_next(s->ctx, &found, &id, place);
        if (e != TACIT_OK || !found) break;
        e = numbers_add(&ids, id);
    }
    s->places_end(s->ctx);
    for (size_t i = 0; e == TACIT_OK && i < ids.n; i++)
        e = s->place_delete(s->ctx, ids.at[i]);
    free(ids.at);
    return e;
}

struct rebuild {
    struct ivf *ix;
    enum tacit_err (*describe)(void *arg, int64_t id, int64_t *part,
                               int64_t *words);
    void *arg;
    uint8_t *rows; /* one segment of rows, of whatever page size */
    float *x;
};

/* A row that can be read gets its place again, the first time it is met. */
static enum tacit_err row_return(struct rebuild *r, const uint8_t *row)
{
    struct ivf *ix = r->ix;
    int64_t id = ivf_i64(row), part = 0, words[IVF_COLUMNS_MAX] = {0};
    bool found = false;
    uint32_t place[2];
    float length = ivf_f32(row + 8);
    if (!(length > 0 && length < 1e13F)) return TACIT_OK;
    if (ivf_row_rotated(ix, row, r->x) != TACIT_OK) {
        err_clear();
        return TACIT_OK;
    }
    TRY(ix->store->place_read(ix->store->ctx, id, &found, place));
    if (found) return TACIT_OK;
    enum tacit_err e = r->describe(r->arg, id, &part, words);
    if (e == TACIT_NOTFOUND) {
        err_clear();
        return TACIT_OK;
    }
    TRY(e);
    return ivf_place(ix, part, r->x, row, words);
}

static enum tacit_err list_return(struct rebuild *r, uint32_t list,
                                  const struct numbers *segs)
{
    struct ivf *ix = r->ix;
    const struct ivf_store *s = ix->store;
    for (size_t i = 0; i < segs->n; i++) {
        uint32_t seg = (uint32_t)segs->at[i];
        const void *data = NULL;
        size_t n = 0;
        TRY(s->seg_read(s->ctx, ivf_rows_of(list), seg, &data, &n));
        if (ivf_rows_whole(ix, list, seg, data, n) != TACIT_OK) {
            err_clear();
            continue;
        }
        memcpy(r->rows, data, n);
        for (size_t k = 0; k < ivf_rows_count(r->rows); k++)
            TRY(row_return(r, ivf_row_at(&ix->shape, r->rows, k)));
    }
    return TACIT_OK;
}

/* The numbers of a run's segments. */
static enum tacit_err segs_list(struct ivf *ix, uint32_t run,
                                struct numbers *segs)
{
    segs->n = 0;
    return ivf_segs_walk(ix->store, run, number_visit, segs);
}

static enum tacit_err segs_delete(struct ivf *ix, uint32_t run,
                                  const struct numbers *segs)
{
    for (size_t i = 0; i < segs->n; i++)
        TRY(ix->store->seg_delete(ix->store->ctx, run, (uint32_t)segs->at[i]));
    return TACIT_OK;
}

static enum tacit_err lists_return(struct rebuild *r, uint32_t end)
{
    struct ivf *ix = r->ix;
    struct numbers segs = {0};
    enum tacit_err e = TACIT_OK;
    for (uint32_t list = 1; e == TACIT_OK && list < end; list++) {
        if (ix->step != NULL) ix->step(ix->step_ctx, list, end);
        e = segs_list(ix, ivf_entries_of(list), &segs);
        if (e == TACIT_OK) e = segs_delete(ix, ivf_entries_of(list), &segs);
        if (e == TACIT_OK) e = segs_list(ix, ivf_rows_of(list), &segs);
        if (e == TACIT_OK) e = list_return(r, list, &segs);
        if (e == TACIT_OK) e = segs_delete(ix, ivf_rows_of(list), &segs);
    }
    free(segs.at);
    return e == TACIT_OK ? ivf_held_write(ix) : e;
}

enum tacit_err ivf_rebuild(struct ivf *ix,
                           enum tacit_err (*describe)(void *arg, int64_t id,
                                                      int64_t *part,
                                                      int64_t *words),
                           void *arg)
{
    struct rebuild r = {.ix = ix, .describe = describe, .arg = arg};
    uint32_t last = 0;
    TRY(ivf_fresh(ix));
    TRY(ix->store->list_last(ix->store->ctx, &last));
    if (last / 2 >= ix->count.next_list) ix->count.next_list = last / 2 + 1;
    if (ix->count.next_list >= IVF_LISTS_MAX)
        return fail(TACIT_LIMIT, "the index has no list numbers left");
    uint32_t end = ix->count.next_list;
    TRY(heads_delete(ix));
    TRY(places_delete(ix));
    ivf_trees_forget(ix);
    ix->count.epoch++;
    ix->count.heads = 1;
    ix->count.sweep = 0;
    memset(ix->count.levels, 0, sizeof ix->count.levels);
    TRY(ivf_meta_write(ix));
    r.rows = malloc(IVF_ROWS_HEADER + ivf_rows_most(ix) * ix->shape.row);
    r.x = malloc(ix->shape.width * sizeof *r.x);
    ivf_hold(ix, IVF_HELD);
    enum tacit_err e = r.rows == NULL || r.x == NULL
                           ? fail(TACIT_NOMEM, "no memory to rebuild")
                           : lists_return(&r, end);
    ivf_hold(ix, IVF_AT_ONCE);
    free(r.rows);
    free(r.x);
    return e;
}
