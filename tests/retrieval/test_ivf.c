/* Lists of near vectors over a store in memory: what every caller of ivf.h may
 * rely on, whatever the order of writes. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/tensor/kernels.h"
#include "tests/retrieval/memory_store.h"

enum { DIM = 48, BEST = 10 };

/* ---- an index beside a plain list of what is in it ---------------------- */

struct item {
    bool there;
    int64_t part, word;
    float v[DIM];
};

struct shelf {
    struct memory_store m;
    struct ivf *ix;
    struct rng r;
    size_t n; /* items */
    struct item *item;
    float *centre; /* [n_centres, DIM] */
    size_t n_centres;
    enum ivf_metric metric;
};

static void shelf_open(struct shelf *s, enum ivf_metric metric,
                       enum ivf_rows rows, uint32_t segment_bytes,
                       size_t n_centres)
{
    memset(s, 0, sizeof *s);
    memory_store_init(&s->m);
    rng_init(&s->r, 5, (uint64_t)metric, n_centres);
    s->metric = metric;
    s->n_centres = n_centres;
    s->centre = calloc(n_centres * DIM, sizeof(float));
    for (size_t i = 0; i < n_centres * DIM; i++)
        s->centre[i] = rng_normal(&s->r);
    struct ivf_settings set = {.dim = DIM,
                               .columns = 1,
                               .metric = metric,
                               .rows = rows,
                               .segment_bytes = segment_bytes,
                               .seed = 11};
    check_ok(ivf_create(&s->m.store, &set));
    check_ok(ivf_open(&s->m.store, &s->ix));
}

static void shelf_close(struct shelf *s)
{
    ivf_close(s->ix);
    memory_store_release(&s->m);
    free(s->item);
    free(s->centre);
}

/* A vector near one of the centres. */
static void draw(struct shelf *s, float *v)
{
    const float *c = s->centre + rng_below(&s->r, s->n_centres) * DIM;
    for (size_t i = 0; i < DIM; i++) v[i] = c[i] + 0.5F * rng_normal(&s->r);
}

static void put(struct shelf *s, size_t i)
{
    struct item *it = &s->item[i];
    draw(s, it->v);
    it->there = true;
    it->word = (int64_t)rng_below(&s->r, 100);
    check_ok(ivf_insert(s->ix, it->part, (int64_t)i, it->v, &it->word));
}

static void fill(struct shelf *s, size_t n)
{
    s->item = realloc(s->item, n * sizeof *s->item);
    memset(s->item + s->n, 0, (n - s->n) * sizeof *s->item);
    for (size_t i = s->n; i < n; i++) put(s, i);
    s->n = n;
}

static void sound(struct shelf *s)
{
    struct ivf_report r;
    size_t there = 0;
    for (size_t i = 0; i < s->n; i++) there += s->item[i].there;
    check_ok(ivf_validate(s->ix, &r));
    if (r.problems != 0) fail_msg("%s", r.first);
    check(r.rows == there && r.entries == there && r.second <= there);
}

static float distance(const struct shelf *s, const float *q, const float *v)
{
    float p = kernel_dot(q, v, DIM), d = 0;
    if (s->metric == IVF_DOT) return -p;
    if (s->metric == IVF_COSINE)
        return 1 -
               p / sqrtf(kernel_dot(q, q, DIM)) / sqrtf(kernel_dot(v, v, DIM));
    for (size_t i = 0; i < DIM; i++) d += (q[i] - v[i]) * (q[i] - v[i]);
    return sqrtf(d);
}

typedef bool keep_fn(const struct item *it);

/* The distance of the k-th nearest that is kept; INFINITY when there are fewer.
 */
static float kth(const struct shelf *s, const float *q, size_t k, keep_fn *keep)
{
    float best[64];
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!s->item[i].there || (keep != NULL && !keep(&s->item[i]))) continue;
        float d = distance(s, q, s->item[i].v);
        if (n == k && d >= best[k - 1]) continue;
        size_t j = n < k ? n++ : k - 1;
        for (; j > 0 && best[j - 1] > d; j--) best[j] = best[j - 1];
        best[j] = d;
    }
    return n == k ? best[k - 1] : INFINITY;
}

/* Every hit is there, kept, at its distance and in order; the share of them
 * that are among the k best. */
static double score(const struct shelf *s, const struct ivf_query *q,
                    const struct ivf_hit *hits, size_t n, keep_fn *keep)
{
    float limit = kth(s, q->v, q->k, keep);
    float slack = s->metric == IVF_COSINE ? 2e-3F : 6e-2F;
    size_t good = 0;
    for (size_t i = 0; i < n; i++) {
        const struct item *it = &s->item[hits[i].id];
        check(hits[i].id >= 0 && (size_t)hits[i].id < s->n && it->there);
        check(keep == NULL || keep(it));
        float d = distance(s, q->v, it->v);
        check_near(hits[i].distance, d, slack * (1 + fabsf(d)));
        check(i == 0 || hits[i].distance > hits[i - 1].distance ||
              (hits[i].distance >= hits[i - 1].distance &&
               hits[i].id > hits[i - 1].id));
        good += d <= limit * (1 + 1e-6F) || d <= limit + 1e-6F;
    }
    return (double)good / (double)q->k;
}

static double recall(struct shelf *s, size_t n_queries,
                     const struct ivf_query *like, keep_fn *keep)
{
    double sum = 0;
    for (size_t i = 0; i < n_queries; i++) {
        float v[DIM];
        struct ivf_hit hits[64];
        size_t n;
        struct ivf_query q = *like;
        draw(s, v);
        q.v = v;
        check_ok(ivf_search(s->ix, &q, hits, &n, NULL));
        check(n <= q.k);
        sum += score(s, &q, hits, n, keep);
    }
    return sum / (double)n_queries;
}

static const int64_t part0;
static const struct ivf_query plain = {.k = BEST, .part = &part0};

/* ---- settings and vectors ----------------------------------------------- */

static void settings_out_of_range_are_refused(void **state)
{
    (void)state;
    struct memory_store m;
    const struct ivf_settings good = {.dim = 8};
    struct ivf_settings s;
    memory_store_init(&m);
    s = good, s.dim = 0;
    check_err(ivf_create(&m.store, &s), TACIT_SHAPE);
    s = good, s.dim = IVF_DIM_MAX + 1;
    check_err(ivf_create(&m.store, &s), TACIT_SHAPE);
    s = good, s.columns = IVF_COLUMNS_MAX + 1;
    check_err(ivf_create(&m.store, &s), TACIT_SHAPE);
    s = good, s.segment_bytes = IVF_SEGMENT_BYTES_MIN - 1;
    check_err(ivf_create(&m.store, &s), TACIT_SHAPE);
    s = good, s.metric = (enum ivf_metric)7;
    check_err(ivf_create(&m.store, &s), TACIT_SHAPE);
    check(m.meta.data == NULL);
    memory_store_release(&m);
}

static void a_damaged_or_newer_meta_is_refused(void **state)
{
    (void)state;
    struct memory_store m;
    struct ivf *ix;
    const struct ivf_settings good = {.dim = 8};
    memory_store_init(&m);
    check_code(ivf_open(&m.store, &ix), E_INDEX_DAMAGED);
    check_ok(ivf_create(&m.store, &good));
    uint8_t *b = m.meta.data;
    b[8] += 2;
    check_err(ivf_open(&m.store, &ix), TACIT_UNSUPPORTED);
    b[8] -= 2;
    /* the rotation is said twice */
    b[8]++;
    check_code(ivf_open(&m.store, &ix), E_INDEX_DAMAGED);
    b[8]--;
    b[39] ^= 0x80;
    check_code(ivf_open(&m.store, &ix), E_INDEX_DAMAGED);
    b[39] ^= 0x80;
    m.meta.n--;
    check_code(ivf_open(&m.store, &ix), E_INDEX_DAMAGED);
    m.meta.n++;
    for (size_t i = 12; i < 32; i += 4) {
        b[i + 3] ^= 0x7f;
        check_code(ivf_open(&m.store, &ix), E_INDEX_DAMAGED);
        b[i + 3] ^= 0x7f;
    }
    check_ok(ivf_open(&m.store, &ix));
    ivf_close(ix);
    memory_store_release(&m);
}

static void vectors_without_a_distance_are_refused(void **state)
{
    (void)state;
    struct shelf s;
    float v[DIM] = {0};
    int64_t word = 0;
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 0, 1);
    check_code(ivf_insert(s.ix, 0, 1, v, &word), E_VECTOR_VALUE);
    v[3] = NAN;
    check_code(ivf_insert(s.ix, 0, 1, v, &word), E_VECTOR_VALUE);
    v[3] = INFINITY;
    check_code(ivf_check(s.ix, v), E_VECTOR_VALUE);
    v[3] = 1e20F;
    check_code(ivf_check(s.ix, v), E_VECTOR_VALUE);
    v[3] = 1;
    check_ok(ivf_check(s.ix, v));
    shelf_close(&s);
    shelf_open(&s, IVF_L2, IVF_ROWS_INT8, 0, 1);
    v[3] = 0;
    check_ok(ivf_insert(s.ix, 0, 1, v, &word));
    shelf_close(&s);
}

static void an_id_is_there_once(void **state)
{
    (void)state;
    struct shelf s;
    float v[DIM];
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 0, 4);
    fill(&s, 20);
    check_err(ivf_insert(s.ix, 0, 3, s.item[4].v, &s.item[4].word),
              TACIT_STATE);
    check_err(ivf_delete(s.ix, 20), TACIT_NOTFOUND);
    check_err(ivf_vector(s.ix, -1, v), TACIT_NOTFOUND);
    check_err(ivf_words(s.ix, 20, &(int64_t){0}), TACIT_NOTFOUND);
    sound(&s);
    shelf_close(&s);
}

static void vectors_come_back_as_they_were(void **state)
{
    (void)state;
    for (int rows = IVF_ROWS_INT8; rows <= IVF_ROWS_F32; rows++)
        for (int metric = IVF_COSINE; metric <= IVF_DOT; metric++) {
            struct shelf s;
            float v[DIM];
            shelf_open(&s, (enum ivf_metric)metric, (enum ivf_rows)rows, 0, 4);
            fill(&s, 700);
            for (size_t i = 0; i < s.n; i += 7) {
                check_ok(ivf_vector(s.ix, (int64_t)i, v));
                if (rows == IVF_ROWS_F32)
                    assert_memory_equal(v, s.item[i].v, sizeof v);
                else
                    check_tensor(v, s.item[i].v, DIM, 0.06);
            }
            shelf_close(&s);
        }
}

/* ---- search ------------------------------------------------------------- */

static void an_empty_index_finds_nothing(void **state)
{
    (void)state;
    struct shelf s;
    struct ivf_hit hits[BEST];
    size_t n = 1;
    float v[DIM] = {1};
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 0, 1);
    struct ivf_query q = plain;
    q.v = v;
    check_ok(ivf_search(s.ix, &q, hits, &n, NULL));
    check(n == 0);
    q.part = NULL;
    check_ok(ivf_search(s.ix, &q, hits, &n, NULL));
    check(n == 0);
    q.k = IVF_K_MAX + 1;
    check_err(ivf_search(s.ix, &q, hits, &n, NULL), TACIT_LIMIT);
    q.k = 0;
    check_err(ivf_search(s.ix, &q, hits, &n, NULL), TACIT_LIMIT);
    q = plain;
    v[0] = NAN;
    q.v = v;
    check_code(ivf_search(s.ix, &q, hits, &n, NULL), E_VECTOR_VALUE);
    shelf_close(&s);
}

static void few_vectors_are_one_list_and_found_exactly(void **state)
{
    (void)state;
    for (int metric = IVF_COSINE; metric <= IVF_DOT; metric++) {
        struct shelf s;
        shelf_open(&s, (enum ivf_metric)metric, IVF_ROWS_F32, 0, 5);
        fill(&s, IVF_LIST_MAX);
        struct ivf_report r;
        check_ok(ivf_validate(s.ix, &r));
        check(r.lists == 1 && r.problems == 0);
        check_near(recall(&s, 30, &plain, NULL), 1, 1e-9);
        shelf_close(&s);
    }
}

static void recall_is_what_was_asked_for(void **state)
{
    (void)state;
    static const size_t centres[] = {20, 600};
    for (int metric = IVF_COSINE; metric <= IVF_DOT; metric++)
        for (size_t i = 0; i < 2; i++) {
            struct shelf s;
            shelf_open(&s, (enum ivf_metric)metric, IVF_ROWS_INT8, 4050,
                       centres[i]);
            fill(&s, 8000);
            sound(&s);
            check(recall(&s, 60, &plain, NULL) >= 0.93);
            struct ivf_query q = plain;
            q.recall = 0.99F;
            check(recall(&s, 60, &q, NULL) >= 0.97);
            q.mode = IVF_EXACT;
            check(recall(&s, 30, &q, NULL) >= 0.97);
            shelf_close(&s);
        }
}

static void an_exact_search_of_exact_rows_is_exact(void **state)
{
    (void)state;
    for (int metric = IVF_COSINE; metric <= IVF_DOT; metric++) {
        struct shelf s;
        shelf_open(&s, (enum ivf_metric)metric, IVF_ROWS_F32, 2000, 50);
        fill(&s, 4000);
        struct ivf_query q = plain;
        q.mode = IVF_EXACT;
        check_near(recall(&s, 30, &q, NULL), 1, 1e-9);
        q.k = 64;
        check_near(recall(&s, 5, &q, NULL), 1, 1e-9);
        shelf_close(&s);
    }
}

static void more_probes_read_more_lists(void **state)
{
    (void)state;
    struct shelf s;
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 4050, 300);
    fill(&s, 5000);
    for (uint32_t probes = 1; probes <= 8; probes *= 2) {
        struct ivf_hit hits[BEST];
        struct ivf_work w;
        size_t n;
        struct ivf_query q = plain;
        q.v = s.item[17].v;
        q.probes = probes;
        check_ok(ivf_search(s.ix, &q, hits, &n, &w));
        check(w.lists == probes && w.segments >= probes && w.rows >= BEST);
    }
    shelf_close(&s);
}

/* ---- writes ------------------------------------------------------------- */

static void any_order_of_writes_keeps_every_row_findable(void **state)
{
    (void)state;
    static const uint32_t bytes[] = {512, 4050, 16300};
    for (size_t b = 0; b < 3; b++) {
        struct shelf s;
        shelf_open(&s, IVF_L2, IVF_ROWS_INT8, bytes[b], 30);
        fill(&s, 3000);
        for (size_t step = 0; step < 6000; step++) {
            size_t i = rng_below(&s.r, s.n);
            struct item *it = &s.item[i];
            uint64_t what = rng_below(&s.r, 10);
            if (!it->there) {
                put(&s, i);
            } else if (what < 6) {
                check_ok(ivf_delete(s.ix, (int64_t)i));
                it->there = false;
            } else if (what < 8) {
                draw(&s, it->v);
                check_ok(ivf_update(s.ix, 0, (int64_t)i, it->v, &it->word));
            } else {
                it->word = (int64_t)rng_below(&s.r, 100);
                check_ok(ivf_set_words(s.ix, (int64_t)i, &it->word));
            }
            if (step % 2000 == 1999) sound(&s);
        }
        for (size_t i = 0; i < s.n; i++) {
            int64_t word = -1;
            if (!s.item[i].there) continue;
            check_ok(ivf_words(s.ix, (int64_t)i, &word));
            check(word == s.item[i].word);
        }
        struct ivf_query q = plain;
        q.mode = IVF_EXACT;
        check(recall(&s, 20, &q, NULL) >= 0.95);
        check(recall(&s, 20, &plain, NULL) >= 0.9);
        for (size_t i = 0; i < s.n; i++) {
            if (!s.item[i].there) continue;
            check_ok(ivf_delete(s.ix, (int64_t)i));
            s.item[i].there = false;
        }
        sound(&s);
        struct ivf_report r;
        check_ok(ivf_validate(s.ix, &r));
        check(r.lists <= 1 && r.blocks_bytes == 0);
        fill(&s, s.n + 100);
        sound(&s);
        shelf_close(&s);
    }
}

static void recall_survives_deletes_and_new_rows(void **state)
{
    (void)state;
    struct shelf s;
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 4050, 100);
    fill(&s, 8000);
    for (size_t i = 0; i < s.n; i++)
        if (i % 10 < 3) {
            check_ok(ivf_delete(s.ix, (int64_t)i));
            s.item[i].there = false;
        }
    check(recall(&s, 50, &plain, NULL) >= 0.94);
    for (size_t i = 0; i < s.n; i++)
        if (!s.item[i].there) put(&s, i);
    check(recall(&s, 50, &plain, NULL) >= 0.94);
    sound(&s);
    shelf_close(&s);
}

static void deleting_the_nearest_leaves_k_others(void **state)
{
    (void)state;
    struct shelf s;
    float v[DIM];
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 4050, 20);
    fill(&s, 4000);
    draw(&s, v);
    struct ivf_query q = plain;
    q.v = v;
    for (int round = 0; round < 40; round++) {
        struct ivf_hit hits[BEST];
        size_t n;
        check_ok(ivf_search(s.ix, &q, hits, &n, NULL));
        check(n == BEST);
        for (size_t i = 0; i < n; i++) {
            check(s.item[hits[i].id].there);
            check_ok(ivf_delete(s.ix, hits[i].id));
            s.item[hits[i].id].there = false;
        }
    }
    sound(&s);
    shelf_close(&s);
}

static void deletes_leave_no_trace(void **state)
{
    (void)state;
    struct shelf s;
    shelf_open(&s, IVF_COSINE, IVF_ROWS_F32, 4050, 4);
    fill(&s, 40);
    float v[DIM];
    memcpy(v, s.item[20].v, sizeof v);
    check_ok(ivf_delete(s.ix, 20));
    for (size_t l = 0; l < s.m.n_lists; l++)
        for (size_t k = 0; k < s.m.lists[l].n_segs; k++) {
            const struct memory_blob *b = &s.m.lists[l].segs[k];
            if (b->data != NULL) check(memmem(b->data, b->n, v, 16) == NULL);
        }
    s.item[20].there = false;
    sound(&s);
    shelf_close(&s);
}

static void lists_of_equal_vectors_stay_bounded(void **state)
{
    (void)state;
    struct shelf s;
    float v[DIM] = {1, 2, 3};
    int64_t word = 0;
    struct ivf_hit hits[BEST];
    size_t n;
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 4050, 1);
    for (int64_t i = 0; i < 4000; i++)
        check_ok(ivf_insert(s.ix, 0, i, v, &word));
    struct ivf_report r;
    check_ok(ivf_validate(s.ix, &r));
    check(r.problems == 0 && r.entries == 4000 && r.lists >= 4000 / 512);
    struct ivf_query q = plain;
    q.v = v;
    struct ivf_work w;
    check_ok(ivf_search(s.ix, &q, hits, &n, &w));
    check(n == BEST);
    for (size_t i = 0; i < n; i++) check_near(hits[i].distance, 0, 1e-3);
    for (int64_t i = 0; i < 4000; i++) check_ok(ivf_delete(s.ix, i));
    check_ok(ivf_validate(s.ix, &r));
    check(r.problems == 0 && r.entries == 0);
    shelf_close(&s);
}

static void same_bytes(const struct shelf *a, const struct shelf *b)
{
    check(a->m.n_lists == b->m.n_lists && a->m.meta.n == b->m.meta.n);
    for (size_t l = 0; l < a->m.n_lists; l++) {
        const struct memory_list *x = &a->m.lists[l], *y = &b->m.lists[l];
        check(x->head.n == y->head.n);
        if (x->head.n > 0)
            assert_memory_equal(x->head.data, y->head.data, x->head.n);
        for (size_t k = 0; k < x->n_segs; k++) {
            check(x->segs[k].n == y->segs[k].n);
            if (x->segs[k].n > 0)
                assert_memory_equal(x->segs[k].data, y->segs[k].data,
                                    x->segs[k].n);
        }
    }
}

static void equal_writes_give_equal_bytes(void **state)
{
    (void)state;
    struct shelf a, b;
    shelf_open(&a, IVF_COSINE, IVF_ROWS_INT8, 4050, 30);
    shelf_open(&b, IVF_COSINE, IVF_ROWS_INT8, 4050, 30);
    fill(&a, 3000);
    fill(&b, 1000);
    ivf_forget(b.ix); /* a cache read anew is the same cache */
    fill(&b, 3000);
    same_bytes(&a, &b);
    shelf_close(&a);
    shelf_close(&b);
}

/* Writing a slot alone is writing its segment. */
static void slots_written_alone_give_equal_bytes(void **state)
{
    (void)state;
    struct shelf a, b;
    shelf_open(&a, IVF_COSINE, IVF_ROWS_INT8, 4050, 30);
    shelf_open(&b, IVF_COSINE, IVF_ROWS_INT8, 4050, 30);
    memory_store_parts(&b.m);
    for (size_t n = 1000; n <= 3000; n += 1000) {
        fill(&a, n);
        fill(&b, n);
        for (size_t i = n / 3; i < n; i += 3) {
            if (!a.item[i].there) continue;
            check_ok(ivf_delete(a.ix, (int64_t)i));
            check_ok(ivf_delete(b.ix, (int64_t)i));
            a.item[i].there = b.item[i].there = false;
        }
        same_bytes(&a, &b);
    }
    check(a.m.seg_patches == 0 && b.m.seg_patches > 3000);
    check(7 * b.m.seg_writes < a.m.seg_writes); /* also of copies */
    sound(&b);
    shelf_close(&a);
    shelf_close(&b);
}

/* Recall of a set of which half was deleted, then optimised. */
static double optimised(uint64_t seed)
{
    struct shelf s;
    bool done = false;
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 4050, seed);
    fill(&s, 6000);
    for (size_t i = 0; i < s.n; i += 2) {
        check_ok(ivf_delete(s.ix, (int64_t)i));
        s.item[i].there = false;
    }
    size_t calls = 0;
    while (!done) {
        check_ok(ivf_optimise(s.ix, 3, &done));
        check(calls++ < 100);
    }
    sound(&s);
    double found = recall(&s, 300, &plain, NULL);
    shelf_close(&s);
    return found;
}

static void optimising_keeps_all_and_ends(void **state)
{
    (void)state;
    enum { SETS = 6 };
    double sum = 0;
    for (uint64_t seed = 0; seed < SETS; seed++) sum += optimised(60 + seed);
    print_message("recall of optimised sets %.4f\n", sum / SETS);
    check(sum / SETS >= 0.93);
}

/* ---- filters and partitions --------------------------------------------- */

static bool word_is_7(const struct item *it)
{
    return it->word == 7;
}
static bool word_below_10(const struct item *it)
{
    return it->word < 10;
}
static bool word_from_50(const struct item *it)
{
    return it->word >= 50;
}
static bool word_prime(const struct item *it)
{
    return it->word == 2 || it->word == 3 || it->word == 5;
}
static bool word_other(const struct item *it)
{
    return !word_prime(it);
}

static void filters_keep_recall_and_only_what_passes(void **state)
{
    (void)state;
    static const int64_t primes[] = {2, 3, 5};
    static const struct {
        struct ivf_term term;
        keep_fn *keep;
    } cases[] = {
        {{.lo = 7, .hi = 7}, word_is_7},
        {{.lo = INT64_MIN, .hi = 9}, word_below_10},
        {{.lo = 50, .hi = INT64_MAX}, word_from_50},
        {{.lo = INT64_MIN, .hi = 49, .negate = true}, word_from_50},
        {{.set = primes, .n = 3}, word_prime},
        {{.set = primes, .n = 3, .negate = true}, word_other},
    };
    struct shelf s;
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 4050, 100);
    fill(&s, 8000);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ivf_filter f = {.terms = &cases[i].term, .n_terms = 1};
        struct ivf_query q = plain;
        q.filter = &f;
        check(recall(&s, 30, &q, cases[i].keep) >= 0.95);
        q.mode = IVF_EXACT;
        check(recall(&s, 10, &q, cases[i].keep) >= 0.98);
    }
    struct ivf_term bad = {.column = 1};
    struct ivf_filter f = {.terms = &bad, .n_terms = 1};
    struct ivf_query q = plain;
    struct ivf_hit hits[BEST];
    size_t n;
    q.v = s.item[0].v;
    q.filter = &f;
    check_err(ivf_search(s.ix, &q, hits, &n, NULL), TACIT_SHAPE);
    f.n_terms = IVF_TERMS_MAX + 1;
    check_err(ivf_search(s.ix, &q, hits, &n, NULL), TACIT_LIMIT);
    shelf_close(&s);
}

static enum tacit_err even_only(void *arg, int64_t id, bool *keep)
{
    ++*(size_t *)arg;
    *keep = id % 2 == 0;
    return TACIT_OK;
}

static enum tacit_err refuse(void *arg, int64_t id, bool *keep)
{
    (void)arg, (void)id, (void)keep;
    return fail(TACIT_STATE, "told to refuse");
}

static void ids_and_a_verifier_narrow_a_search(void **state)
{
    (void)state;
    struct shelf s;
    struct ivf_hit hits[BEST];
    size_t n, asked = 0;
    int64_t few[] = {-5, 3, 4, 5, 999999}, many[2000];
    shelf_open(&s, IVF_L2, IVF_ROWS_INT8, 4050, 40);
    fill(&s, 5000);
    struct ivf_filter f = {.ids = few, .n_ids = 5};
    struct ivf_query q = plain;
    q.v = s.item[4].v;
    q.filter = &f;
    check_ok(ivf_search(s.ix, &q, hits, &n, NULL));
    check(n == 3 && hits[0].id == 4);
    for (size_t i = 0; i < 2000; i++) many[i] = (int64_t)(2 * i + 1);
    f.ids = many;
    f.n_ids = 2000;
    check_ok(ivf_search(s.ix, &q, hits, &n, NULL));
    check(n == BEST);
    for (size_t i = 0; i < n; i++) check(hits[i].id % 2 == 1);
    f = (struct ivf_filter){.verify = even_only, .arg = &asked};
    check_ok(ivf_search(s.ix, &q, hits, &n, NULL));
    check(n == BEST && asked >= BEST);
    for (size_t i = 0; i < n; i++) check(hits[i].id % 2 == 0);
    f.verify = refuse;
    check_err(ivf_search(s.ix, &q, hits, &n, NULL), TACIT_STATE);
    f = (struct ivf_filter){.ids = few, .n_ids = 0};
    check_ok(ivf_search(s.ix, &q, hits, &n, NULL));
    check(n == 0);
    shelf_close(&s);
}

static void partitions_are_searched_alone_or_together(void **state)
{
    (void)state;
    struct shelf s;
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 4050, 10);
    s.item = calloc(4000, sizeof *s.item);
    for (size_t i = 0; i < 4000; i++) {
        s.item[i].part = i < 3000 ? (int64_t)(i % 3) - 1 : (int64_t)i;
        put(&s, i);
    }
    s.n = 4000;
    sound(&s);
    struct ivf_report r;
    check_ok(ivf_validate(s.ix, &r));
    check(r.partitions == 1003);
    for (int64_t part = -1; part < 2; part++) {
        struct ivf_hit hits[BEST];
        size_t n;
        struct ivf_query q = {.v = s.item[7].v, .k = BEST, .part = &part};
        check_ok(ivf_search(s.ix, &q, hits, &n, NULL));
        check(n == BEST);
        for (size_t i = 0; i < n; i++) check(s.item[hits[i].id].part == part);
    }
    struct ivf_query q = {.k = BEST};
    check(recall(&s, 20, &q, NULL) >= 0.9);
    int64_t part = 3500, nobody = 77777;
    struct ivf_hit hits[BEST];
    size_t n;
    q = (struct ivf_query){.v = s.item[7].v, .k = BEST, .part = &part};
    check_ok(ivf_search(s.ix, &q, hits, &n, NULL));
    check(n == 1 && hits[0].id == 3500);
    q.part = &nobody;
    check_ok(ivf_search(s.ix, &q, hits, &n, NULL));
    check(n == 0);
    check_ok(ivf_update(s.ix, 3501, 3500, s.item[3500].v, &s.item[3500].word));
    q.part = &part;
    check_ok(ivf_search(s.ix, &q, hits, &n, NULL));
    check(n == 0);
    sound(&s);
    shelf_close(&s);
}

/* ---- the store ---------------------------------------------------------- */

static void another_writer_is_noticed(void **state)
{
    (void)state;
    struct shelf s;
    struct ivf *other;
    struct ivf_hit hits[BEST];
    size_t n;
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 4050, 10);
    check_ok(ivf_open(&s.m.store, &other));
    struct ivf_query q = plain;
    float v[DIM] = {1};
    q.v = v;
    check_ok(ivf_search(other, &q, hits, &n, NULL));
    check(n == 0);
    fill(&s, 2000);
    check_ok(ivf_refresh(other));
    check_ok(ivf_search(other, &q, hits, &n, NULL));
    check(n == BEST);
    check(ivf_bytes(other) > 0 && ivf_settings(other)->dim == DIM);
    ivf_close(other);
    shelf_close(&s);
}

/* The n-th call of the store fails, for many n, in inserts that split a list, a
 * search and a delete: its error comes out. */
static void an_error_of_the_store_goes_through(void **state)
{
    (void)state;
    for (size_t n = 1; n < 700; n += 11) {
        struct shelf s;
        struct ivf_hit hits[BEST];
        size_t n_hits;
        int64_t id = 1000, word = 1;
        float v[DIM];
        shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 1000, 10);
        fill(&s, IVF_LIST_MAX - 10);
        s.m.calls = 0;
        s.m.fail_at = n;
        enum tacit_err e = TACIT_OK;
        draw(&s, v);
        struct ivf_query q = plain;
        q.v = v;
        for (int k = 0; e == TACIT_OK && k < 30; k++) {
            e = ivf_search(s.ix, &q, hits, &n_hits, NULL);
            draw(&s, v);
            if (e == TACIT_OK) e = ivf_insert(s.ix, 0, id++, v, &word);
            if (e == TACIT_OK && k % 9 == 8) e = ivf_delete(s.ix, id - 2);
        }
        check_err(e, TACIT_IO);
        shelf_close(&s);
    }
}

static enum tacit_err describe(void *arg, int64_t id, int64_t *part,
                               int64_t *words)
{
    const struct shelf *s = arg;
    if (id < 0 || (size_t)id >= s->n || !s->item[id].there)
        return fail(TACIT_NOTFOUND, "no such row");
    *part = s->item[id].part;
    *words = s->item[id].word;
    return TACIT_OK;
}

static void an_index_is_made_anew_from_its_rows(void **state)
{
    (void)state;
    struct shelf s;
    shelf_open(&s, IVF_COSINE, IVF_ROWS_INT8, 4050, 40);
    fill(&s, 4000);
    for (size_t l = 0; l < s.m.n_lists; l++) {
        if (l % 2 == 0) /* entries */
            for (size_t k = 0; k < s.m.lists[l].n_segs; k++)
                if (k % 3 == 0) memory_drop(&s.m.lists[l].segs[k]);
        if (l % 5 == 0) memory_drop(&s.m.lists[l].head);
    }
    for (int64_t i = 0; i < 100; i++) memory_row(&s.m, i)->placed = false;
    uint32_t nowhere[2] = {77, 0};
    check_ok(s.m.store.place_write(&s.m, 123456, nowhere));
    ivf_forget(s.ix);
    struct ivf_report r;
    check_ok(ivf_validate(s.ix, &r));
    check(r.problems > 0 && r.first[0] != 0);
    check_ok(ivf_rebuild(s.ix, describe, &s));
    sound(&s);
    check(recall(&s, 30, &plain, NULL) >= 0.93);
    shelf_close(&s);
}

/* Any operation on any bytes: OK, or an error that says damaged. */
static void hostile_bytes_are_an_error_and_no_more(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct shelf s;
        struct rng r;
        shelf_open(&s, seed % 3 == 0 ? IVF_DOT : IVF_COSINE,
                   seed % 2 ? IVF_ROWS_INT8 : IVF_ROWS_F32, 1200, 6);
        fill(&s, 700);
        rng_init(&r, seed, 1, 2);
        for (int k = 0; k < 12; k++) {
            struct memory_list *l = &s.m.lists[1 + rng_below(&r, 8)];
            struct memory_blob *b = &l->head;
            if (l->n_segs > 0 && rng_below(&r, 4) > 0)
                b = &l->segs[rng_below(&r, l->n_segs)];
            if (b->data == NULL) continue;
            size_t at = rng_below(&r, rng_below(&r, 2) ? 16 : b->n);
            if (at < b->n) ((uint8_t *)b->data)[at] = (uint8_t)rng_u64(&r);
            if (rng_below(&r, 4) == 0) {
                uint8_t *cut = malloc(b->n);
                memcpy(cut, b->data, b->n);
                size_t n = rng_below(&r, b->n);
                check_ok(memory_put(b, cut, n));
                free(cut);
            }
        }
        memory_row(&s.m, (int64_t)rng_below(&r, 700))->lists[rng_below(&r, 2)] =
            (uint32_t)rng_below(&r, 5);
        ivf_forget(s.ix);
        int64_t word = 0;
        for (int64_t i = 0; i < 200; i++) {
            enum tacit_err e = TACIT_OK;
            struct ivf_query q = plain;
            struct ivf_hit hits[BEST];
            float v[DIM];
            size_t n;
            bool done;
            draw(&s, v);
            q.v = v;
            q.mode = i % 9 == 0 ? IVF_EXACT : IVF_APPROXIMATE;
            switch (i % 5) {
            case 0: e = ivf_search(s.ix, &q, hits, &n, NULL); break;
            case 1: e = ivf_insert(s.ix, 0, 1000 + i, v, &word); break;
            case 2: e = ivf_delete(s.ix, 3 * i); break;
            case 3: e = ivf_vector(s.ix, i, v); break;
            default: e = ivf_optimise(s.ix, 1, &done); break;
            }
            check(e == TACIT_OK || e == TACIT_FORMAT || e == TACIT_NOTFOUND ||
                  e == TACIT_STATE);
            err_clear();
            if (e != TACIT_OK) ivf_forget(s.ix);
        }
        struct ivf_report rep;
        if (ivf_validate(s.ix, &rep) != TACIT_OK) err_clear();
        check_ok(ivf_rebuild(s.ix, describe, &s));
        check_ok(ivf_validate(s.ix, &rep));
        if (rep.problems != 0) fail_msg("%s", rep.first);
        shelf_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_out_of_range_are_refused),
        cmocka_unit_test(a_damaged_or_newer_meta_is_refused),
        cmocka_unit_test(vectors_without_a_distance_are_refused),
        cmocka_unit_test(an_id_is_there_once),
        cmocka_unit_test(vectors_come_back_as_they_were),
        cmocka_unit_test(an_empty_index_finds_nothing),
        cmocka_unit_test(few_vectors_are_one_list_and_found_exactly),
        cmocka_unit_test(recall_is_what_was_asked_for),
        cmocka_unit_test(an_exact_search_of_exact_rows_is_exact),
        cmocka_unit_test(more_probes_read_more_lists),
        cmocka_unit_test(any_order_of_writes_keeps_every_row_findable),
        cmocka_unit_test(recall_survives_deletes_and_new_rows),
        cmocka_unit_test(deleting_the_nearest_leaves_k_others),
        cmocka_unit_test(deletes_leave_no_trace),
        cmocka_unit_test(lists_of_equal_vectors_stay_bounded),
        cmocka_unit_test(equal_writes_give_equal_bytes),
        cmocka_unit_test(slots_written_alone_give_equal_bytes),
        cmocka_unit_test(optimising_keeps_all_and_ends),
        cmocka_unit_test(filters_keep_recall_and_only_what_passes),
        cmocka_unit_test(ids_and_a_verifier_narrow_a_search),
        cmocka_unit_test(partitions_are_searched_alone_or_together),
        cmocka_unit_test(another_writer_is_noticed),
        cmocka_unit_test(an_error_of_the_store_goes_through),
        cmocka_unit_test(an_index_is_made_anew_from_its_rows),
        cmocka_unit_test(hostile_bytes_are_an_error_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
