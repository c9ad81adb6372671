#include "retrieval/ivf_searcher.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/codes.h"

enum {
    FIRST_CHUNK = 64,  /* lists that are put in exact order at first */
    LEARN_EACH = 10,   /* neighbours per rank that are learnt from */
    LEARN_KEPT = 1001, /* the row and the most distant rank */
    LEARN_LISTS = 512, /* lists read for them */
    LEARN_SAME = 10,   /* roundings by which equal rows seem to differ */
    IDS_FEW = 16       /* so many ids are always looked up one by one */
};
/* Deviations allowed for where a search reads one list, to be exact. */
static const float single_bound = 6;
static const float default_recall = 0.95F;

/* ---- lists --------------------------------------------------------------- */

/* Words of empty slots are 0, which a filter may let pass. */
static uint32_t live_mask(const struct ivf_shape *shape, const uint8_t *block)
{
    const uint8_t *mul = block + shape->scalars + 2 * IVF_BLOCK;
    uint32_t live = 0;
    for (size_t i = 0; i < IVF_BLOCK; i++)
        live |= (uint32_t)(ivf_u16(mul + 2 * i) != 0) << i;
    return live;
}

/* The entries of a block, from a slot of its list; a lean one has no ids. */
static void block_take(struct ivf_searcher *s, const struct rabitq_scan *scan,
                       const struct ivf_shape *shape, const uint8_t *block,
                       uint32_t list, size_t slot)
{
    bool is_named = shape != &s->ix->lean;
    const struct ivf_filter *f = s->q->filter;
    struct ivf_scratch *t = s->s;
    float estimate[IVF_BLOCK], lower[IVF_BLOCK];
    uint32_t mask = 0xffff;
    if (f != NULL && f->n_terms > 0) {
        uint32_t live = live_mask(shape, block);
        mask = live & ivf_filter_block(f, shape, block);
        s->tried += (float)__builtin_popcount(live);
        s->passed += (float)__builtin_popcount(mask);
    }
    s->work.entries += (uint32_t)__builtin_popcount(mask);
    if (mask == 0) return;
    mask &= s->ix->kernels->scan(scan, block, estimate, lower);
    if (t->n_pool + IVF_BLOCK > t->room_pool) ivf_pool_halve(s);
    for (; mask != 0; mask &= mask - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(mask);
        int64_t id = is_named ? ivf_i64(block + shape->ids + 8 * i) : 0;
        if (f != NULL && f->ids != NULL) {
            bool in = ivf_among(f->ids, f->n_ids, id);
            s->asked++;
            s->kept += in;
            if (!in) continue;
        }
        t->pool[t->n_pool++] =
            (struct ivf_candidate){estimate[i],
                                   s->learns ? s->heading : lower[i],
                                   id,
                                   list,
                                   slot == IVF_NO_SLOT ? IVF_NO_SLOT
                                                       : (uint32_t)slot + i,
                                   is_named};
    }
}

/* Not where ids are asked for, nor where all rows are read anyway. */
static bool may_keep(const struct ivf_searcher *s)
{
    const struct ivf_filter *f = s->q->filter;
    return !s->learns && !isinf(s->bound) && (f == NULL || f->ids == NULL);
}

static void kept_take(struct ivf_searcher *s, const struct rabitq_scan *scan,
                      const struct ivf_kept_list *l)
{
    const struct ivf *ix = s->ix;
    const uint8_t *block = l->data;
    for (size_t b = 0; b < l->copies; b++, block += ix->shape.block)
        block_take(s, scan, &ix->shape, block, l->list, IVF_NO_SLOT);
    for (size_t b = 0; b < l->firsts; b++, block += ix->lean.block)
        block_take(s, scan, &ix->lean, block, l->list, b * IVF_BLOCK);
}

/* Scan the segments of a list as the store has them. */
static enum tacit_err stored_take(struct ivf_searcher *s,
                                  const struct rabitq_scan *scan, uint32_t list)
{
    struct ivf *ix = s->ix;
    const struct ivf_store *store = ix->store;
    const struct ivf_shape *shape = &ix->shape;
    uint32_t run = ivf_entries_of(list);
    bool keeps = may_keep(s), follows = ix->count.heads > 0;
    uint32_t next = IVF_SEG_FIRST;
    enum tacit_err e = store->scan_begin != NULL
                           ? store->scan_begin(store->ctx, run)
                           : store->segs_begin(store->ctx, run);
    if (keeps) ivf_kept_start(ix);
    while (e == TACIT_OK) {
        uint32_t seg;
        const void *data;
        size_t n;
        e = store->segs_next(store->ctx, &seg, &data, &n);
        if (e != TACIT_OK || data == NULL) break;
        e = ivf_segment_check(ix, list, seg, data, n);
        if (e != TACIT_OK) break;
        bool copies = seg < IVF_SEG_FIRST;
        if (!copies && seg != next++)
            e = IVF_DAMAGED("list %u misses segment"
                            " %u",
                            list, next - 1);
        if (e != TACIT_OK) break;
        if (!copies) follows = ivf_followed(data);
        if (copies && isinf(s->bound)) continue;
        if (keeps) ivf_kept_add(ix, seg, data);
        s->work.segments++;
        for (size_t b = 0; b < ivf_blocks(data); b++)
            block_take(s, scan, shape, ivf_block(shape, data, b), list,
                       copies ? IVF_NO_SLOT
                              : (seg - IVF_SEG_FIRST) * shape->slots_max +
                                    b * IVF_BLOCK);
    }
    store->segs_end(store->ctx);
    if (e == TACIT_OK && follows)
        return IVF_DAMAGED("list %u misses segment %u", list, next);
    if (keeps && e == TACIT_OK) ivf_kept_end(ix, list);
    return e;
}

static enum tacit_err list_take(struct ivf_searcher *s,
                                const struct ivf_probe *p)
{
    struct ivf *ix = s->ix;
    const struct ivf_shape *shape = &ix->shape;
    struct rabitq_scan scan = {.tables = ix->query->tables,
                               .width = shape->width,
                               .gain = ix->query->gain,
                               .offset = ix->query->offset,
                               .base = p->base,
                               .limit = s->learns ? s->worst : ivf_limit(s)};
    scan.slack =
        isinf(s->bound) ? INFINITY : s->bound * RABITQ_DEVIATION * sqrtf(p->d2);
    s->work.lists++;
    const struct ivf_kept_list *kept =
        may_keep(s) ? ivf_kept_find(ix, p->list) : NULL;
    if (kept == NULL) return stored_take(s, &scan, p->list);
    kept_take(s, &scan, kept);
    return TACIT_OK;
}

static enum tacit_err probes_run(struct ivf_searcher *s)
{
    struct ivf_scratch *t = s->s;
    size_t ready = 0, chunk = FIRST_CHUNK;
    bool all = isinf(s->bound);
    for (size_t i = 0; i < t->n_probes; i++) {
        if (i == ready) {
            ready = t->n_probes - i < chunk ? t->n_probes : i + chunk;
            ivf_probes_order(s, i, ready);
            chunk *= 2;
        }
        const struct ivf_probe *p = &t->probes[i];
        if (!all &&
            (s->q->probes > 0 ? i >= s->q->probes : ivf_enough(s, p->key, i)))
            break;
        if (s->expects) ivf_probes_expect(s, i, ready);
        TRY(list_take(s, p));
        TRY(all ? ivf_possible_read(s) : ivf_likely_read(s));
    }
    return ivf_possible_read(s);
}

/* ---- learning ------------------------------------------------------------ */

/* Keep the best LEARN_KEPT; only a better estimate is of use from then on. */
static void estimates_prune(struct ivf_searcher *s)
{
    struct ivf_scratch *t = s->s;
    ivf_candidates_select(t->pool, t->n_pool, LEARN_KEPT);
    t->n_pool = LEARN_KEPT;
    s->worst = t->pool[0].estimate;
    for (size_t i = 1; i < LEARN_KEPT; i++)
        if (t->pool[i].estimate > s->worst) s->worst = t->pool[i].estimate;
}

/* Read lists for their estimates alone, keeping the best. */
static enum tacit_err estimates_take(struct ivf_searcher *s)
{
    struct ivf_scratch *t = s->s;
    size_t n = t->n_probes < LEARN_LISTS ? t->n_probes : LEARN_LISTS;
    ivf_probes_order(s, 0, n);
    for (size_t i = 0; i < n; i++) {
        s->heading = ivf_hardness(t->probes[i].key, i, t->n_probes);
        TRY(list_take(s, &t->probes[i]));
        if (t->n_pool >= 2 * LEARN_KEPT) estimates_prune(s);
    }
    if (t->n_pool > LEARN_KEPT) estimates_prune(s);
    qsort(t->pool, t->n_pool, sizeof *t->pool, ivf_candidate_compare);
    return TACIT_OK;
}

/* Estimates serve: they err alike in all lists. Each rank's histogram gets the
 * same weight from a row. Rows that are equal lie together, whatever the lists;
 * that all do is not to be learnt from them. */
enum tacit_err ivf_learn(struct ivf *ix, struct ivf_tree *t, const float *x)
{
    struct ivf_query query = {.k = 1};
    struct ivf_searcher s = {.ix = ix,
                             .q = &query,
                             .learns = true,
                             .worst = INFINITY};
    rabitq_query_set(ix->query, x);
    TRY(ivf_scratch_get(ix, query.k, &s.s));
    TRY(ivf_probes_start(&s, t->part));
    TRY(estimates_take(&s));
    const struct ivf_candidate *pool = s.s->pool;
    float same = LEARN_SAME * ivf_rounding(ix->query->norm2, ix->query->norm2);
    for (size_t r = 0, rank = LEARN_EACH; r < IVF_RANKS; r++, rank *= 10) {
        if (s.s->n_pool <= rank) break;
        float d2 = pool[rank].estimate;
        if (!(d2 - pool[0].estimate > same) && !(pool[rank].lower > 0)) {
            ivf_level_rest(ix->count.levels[r]);
            continue;
        }
        float size = ivf_ball(ix, d2 > 0 ? d2 : 0);
        /* the row itself comes first */
        for (size_t i = rank / LEARN_EACH; i <= rank; i += rank / LEARN_EACH)
            ivf_level_add(ix->count.levels[r],
                          size > 0 ? pool[i].lower / size : 0);
    }
    return TACIT_OK;
}

/* ---- few ids ------------------------------------------------------------- */

/* Whether id, in list, is in the partition and passes the terms. */
static enum tacit_err id_passes(struct ivf_searcher *s, int64_t id,
                                uint32_t list, bool *keep)
{
    struct ivf *ix = s->ix;
    const struct ivf_filter *f = s->q->filter;
    int64_t words[IVF_COLUMNS_MAX];
    struct ivf_spot spot;
    *keep = s->tree == NULL || ivf_tree_find(s->tree, list) != SIZE_MAX;
    if (!*keep || f->n_terms == 0) return TACIT_OK;
    TRY(ivf_list_find(ix, list, IVF_FIRST, id, &spot));
    if (!spot.found)
        return IVF_DAMAGED("list %u misses an entry that is placed there",
                           list);
    for (size_t k = 0; k < ix->shape.columns; k++)
        words[k] = ivf_slot_word(&ix->shape, ix->segment, spot.slot, k);
    *keep = ivf_filter_words(f, words);
    return TACIT_OK;
}

/* Compare ids one by one. */
static enum tacit_err ids_take(struct ivf_searcher *s)
{
    const struct ivf_filter *f = s->q->filter;
    const struct ivf_store *store = s->ix->store;
    for (size_t i = 0; i < f->n_ids; i++) {
        bool found = false, keep;
        uint32_t place[2];
        TRY(store->place_read(store->ctx, f->ids[i], &found, place));
        if (!found) continue;
        TRY(id_passes(s, f->ids[i], place[0], &keep));
        struct ivf_candidate c = {.id = f->ids[i],
                                  .slot = IVF_NO_SLOT,
                                  .is_named = true};
        if (keep) TRY(ivf_candidate_read(s, &c));
    }
    return TACIT_OK;
}

/* ---- partitions ---------------------------------------------------------- */

/* Deviations to allow for: the more recall, the fewer may be cut off. Under a
 * filter the best lie farther apart and fewer compete, so more costs little. */
static float bound_for(const struct ivf_query *q, float recall)
{
    float bound = -0.5F * logf(1 - recall + 1e-6F);
    if (q->filter != NULL) bound += 0.75F;
    return bound < 0.8F ? 0.8F : bound > 4 ? 4 : bound;
}

static enum tacit_err part_take(struct ivf_searcher *s, int64_t part)
{
    const struct ivf_filter *f = s->q->filter;
    TRY(ivf_probes_start(s, part));
    s->bound = s->s->n_probes == 1 ? single_bound : bound_for(s->q, s->recall);
    if (s->q->mode == IVF_EXACT) s->bound = INFINITY;
    if (f != NULL && f->ids != NULL && f->n_ids <= s->s->n_probes + IDS_FEW)
        return ids_take(s);
    return probes_run(s);
}

/* All partitions, one after the other: what is found in one is the limit in the
 * next. */
static enum tacit_err parts_take(struct ivf_searcher *s)
{
    const struct ivf_filter *f = s->q->filter;
    struct ivf *ix = s->ix;
    TRY(ivf_parts_get(ix));
    if (f != NULL && f->ids != NULL && f->n_ids <= ix->n_parts + IDS_FEW)
        return ids_take(s);
    for (size_t i = 0; i < ix->n_parts; i++) {
        s->s->n_probes = 0;
        TRY(part_take(s, ix->parts[i]));
    }
    return TACIT_OK;
}

static enum tacit_err query_check(const struct ivf *ix,
                                  const struct ivf_query *q)
{
    if (q->k < 1 || q->k > IVF_K_MAX)
        return fail(TACIT_LIMIT, "k is %zu, want 1 to %d", q->k, IVF_K_MAX);
    if (!(q->recall >= 0 && q->recall <= 1))
        return fail(TACIT_LIMIT, "recall is %g, want 0 to 1",
                    (double)q->recall);
    return ivf_filter_check(ix, q->filter);
}

enum tacit_err ivf_search(struct ivf *ix, const struct ivf_query *query,
                          struct ivf_hit *hits, size_t *n_hits,
                          struct ivf_work *work)
{
    struct ivf_searcher s = {.ix = ix, .q = query};
    TRY(query_check(ix, query));
    TRY(ivf_fresh(ix));
    TRY(ivf_prepare(ix, query->v, NULL));
    rabitq_query_set(ix->query, ix->x);
    TRY(ivf_scratch_get(ix, query->k, &s.s));
    TRY(ivf_kept_begin(ix));
    float recall = query->recall > 0 ? query->recall : default_recall;
    s.recall = recall;
    if (query->part != NULL)
        TRY(part_take(&s, *query->part));
    else
        TRY(parts_take(&s));
    ivf_hits_sort(ix, s.s->hits, s.s->n_hits);
    memcpy(hits, s.s->hits, s.s->n_hits * sizeof *hits);
    *n_hits = s.s->n_hits;
    if (work != NULL) *work = s.work;
    return TACIT_OK;
}
