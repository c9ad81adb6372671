#include "sims/data.h"

#include <stdlib.h>
#include <string.h>

#include "client/data_jsonl.h"
#include "common/base/pool.h"
#include "sims/digits.h"
#include "sims/partition.h"
#include "sims/synthetic.h"
#include "sims/texts.h"

enum { LENGTH_MAX = 1024, ROWS_PER_TASK = 64 };

/* Rows in the making. */
struct making {
    const struct plan *plan;
    struct arena arena;
    size_t n_sources, *first; /* [n_sources + 1] rows by source, or NULL */
    struct synthetic_config config;
    struct synthetic_device *device; /* [n_sources] */
    struct pooled rows;
};

/* Whose row it is, and which of theirs. */
static void locate(const struct making *m, size_t row, size_t *source,
                   uint64_t *number)
{
    if (!m->first) {
        *source = row % m->n_sources;
        *number = row / m->n_sources;
        return;
    }
    size_t low = 0, high = m->n_sources;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (m->first[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    *source = low;
    *number = row - m->first[low];
}

/* ---- one row of each kind ----------------------------------------------- */

static void make_image(const struct making *m, size_t source, uint64_t number,
                       float *x, float *y)
{
    const struct plan *p = m->plan;
    const struct digits_canvas c = {p->height, p->width};
    unsigned n = p->classes > 1 ? p->classes : 2;
    unsigned label = digits_label(p->seed, source, number, n);
    digits_draw(p->seed, source, number, label, &c, x);
    *y = (float)label;
}

static void make_text(const struct making *m, size_t source, uint64_t number,
                      float *x, float *y)
{
    char text[LENGTH_MAX + 1];
    size_t n = m->plan->length;
    texts_row(m->plan->seed, source, number, n + 1, text);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)jsonl_token((unsigned char)text[i]);
        y[i] = (float)jsonl_token((unsigned char)text[i + 1]);
    }
}

static void make_rows(void *ctx, size_t task, unsigned worker)
{
    struct making *m = ctx;
    struct pooled *p = &m->rows;
    size_t end = (task + 1) * ROWS_PER_TASK;
    (void)worker;
    if (end > p->n_rows) end = p->n_rows;
    for (size_t row = task * ROWS_PER_TASK; row < end; row++) {
        float *x = p->x + row * p->x_dim, *y = p->y + row * p->y_dim;
        size_t source = 0;
        uint64_t number = 0;
        locate(m, row, &source, &number);
        if (p->client) p->client[row] = (uint32_t)source;
        if (m->plan->format == PLAN_IMAGES)
            make_image(m, source, number, x, y);
        else if (m->plan->format == PLAN_TEXT)
            make_text(m, source, number, x, y);
        else
            synthetic_row(&m->device[source], number, x, y);
    }
}

/* ---- how many, of whom -------------------------------------------------- */

static enum tacit_err check_plan(const struct plan *p)
{
    if (p->format != PLAN_IMAGES) return TACIT_OK;
    if (p->channels != 1 || p->height < DIGITS_SIDE_MIN ||
        p->width < DIGITS_SIDE_MIN || p->height > DIGITS_SIDE_MAX ||
        p->width > DIGITS_SIDE_MAX || p->classes > DIGITS_CLASSES ||
        p->task != PLAN_CLASSIFY)
        return fail(TACIT_UNSUPPORTED,
                    "the pictures that are made here are digits to classify: "
                    "data.channels 1, height and width %d to %d, at most %d "
                    "classes; name your own with --data",
                    DIGITS_SIDE_MIN, DIGITS_SIDE_MAX, DIGITS_CLASSES);
    return TACIT_OK;
}

/* Rows of every natural client; their sum is the number of rows. */
static enum tacit_err count_sites(struct making *m, size_t *n_rows)
{
    const struct plan *p = m->plan;
    size_t n = p->sim.clients, *sizes = NULL;
    TRY(arena_alloc(&m->arena, n, sizeof *sizes, &sizes));
    TRY(arena_alloc(&m->arena, n + 1, sizeof *m->first, &m->first));
    if (p->sim.power_sizes && p->format == PLAN_VECTORS)
        for (size_t i = 0; i < n; i++) sizes[i] = synthetic_size(p->seed, i);
    else
        TRY(partition_sizes(p, n * p->sim.rows, n, sizes));
    for (size_t i = 0; i < n; i++) m->first[i + 1] = m->first[i] + sizes[i];
    m->n_sources = n;
    *n_rows = m->first[n];
    return TACIT_OK;
}

static enum tacit_err make_devices(struct making *m)
{
    const struct plan *p = m->plan;
    m->config = (struct synthetic_config){
        .seed = p->seed,
        .a = p->sim.a,
        .b = p->sim.b,
        .iid = p->sim.partition == PLAN_PART_IID,
        .kind = p->task == PLAN_REGRESS ? SYNTHETIC_VALUE
                : p->classes > 1        ? SYNTHETIC_CLASSES
                                        : SYNTHETIC_SIGN,
        .dim = p->n_features,
        .classes = p->task == PLAN_CLASSIFY && p->classes > 1 ? p->classes : 1};
    TRY(arena_alloc(&m->arena, m->n_sources, sizeof *m->device, &m->device));
    for (size_t i = 0; i < m->n_sources; i++)
        TRY(synthetic_device(&m->config, i, &m->arena, &m->device[i]));
    return TACIT_OK;
}

static enum tacit_err make(struct making *m)
{
    const struct plan *p = m->plan;
    struct pool *pool = NULL;
    size_t n_rows = (size_t)p->sim.clients * p->sim.rows;
    m->n_sources = DATA_SOURCES;
    TRY(check_plan(p));
    if (p->sim.partition == PLAN_PART_SITES) TRY(count_sites(m, &n_rows));
    if (p->format == PLAN_VECTORS) TRY(make_devices(m));
    TRY(pooled_new(p->name, n_rows, p->n_features,
                   p->format == PLAN_TEXT ? p->length : 1, &m->rows));
    if (m->first) {
        m->rows.n_clients = m->n_sources;
        TRY(arena_alloc(&m->rows.arena, n_rows, sizeof *m->rows.client,
                        &m->rows.client));
    }
    TRY(pool_new(&pool, p->sim.threads));
    pool_run(pool, (n_rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, make_rows, m);
    pool_free(pool);
    return TACIT_OK;
}

enum tacit_err data_invent(const struct plan *plan, struct pooled *out)
{
    struct making m = {.plan = plan};
    arena_init(&m.arena, 0);
    enum tacit_err err = make(&m);
    if (err)
        pooled_release(&m.rows);
    else
        *out = m.rows;
    arena_release(&m.arena);
    return err;
}
