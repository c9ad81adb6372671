#include "client/pooled.h"

#include <math.h>
#include <string.h>

#include "client/data_idx.h"
#include "client/data_jsonl.h"
#include "client/data_npy.h"
#include "common/base/codes.h"
#include "common/base/file.h"

void pooled_release(struct pooled *p)
{
    arena_release(&p->arena);
    memset(p, 0, sizeof *p);
}

enum tacit_err pooled_new(const char *what, size_t n_rows, size_t x_dim,
                          size_t y_dim, struct pooled *out)
{
    struct pooled p = {.n_rows = n_rows, .x_dim = x_dim, .y_dim = y_dim};
    size_t wide = x_dim > y_dim ? x_dim : y_dim;
    if (n_rows > POOLED_ROWS_MAX || wide > POOLED_VALUES_MAX ||
        (wide && n_rows > POOLED_VALUES_MAX / wide))
        return fail(TACIT_LIMIT,
                    "%s: %zu rows of %zu values; the limits are %d rows and %d "
                    "values",
                    what, n_rows, wide, POOLED_ROWS_MAX, POOLED_VALUES_MAX);
    arena_init(&p.arena, 0);
    enum tacit_err err =
        arena_alloc(&p.arena, n_rows * y_dim + 1, sizeof *p.y, &p.y);
    if (!err)
        err = arena_alloc_raw(&p.arena, n_rows * x_dim + 1, sizeof *p.x, &p.x);
    if (err)
        pooled_release(&p);
    else
        *out = p;
    return err;
}

int pooled_label_ok(const struct plan *plan, double v)
{
    if (!isfinite(v) || !isfinite((float)v)) return 0;
    if (plan->task == PLAN_REGRESS) return 1;
    uint32_t n = plan->classes > 1 ? plan->classes : 2;
    return v >= 0 && v < n && v <= floor(v);
}

/* What a file of another kind is, where its first bytes tell. */
static const char *kind_of(const struct buf *b)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *kind;
    } rows[] = {{"\x1f\x8b", 2, "gzip; unpack it first (gunzip -k)"},
                {"\x28\xb5\x2f\xfd", 4, "zstd; unpack it first (unzstd)"},
                {"PK\x03\x04", 4, "a zip archive; unpack it first"},
                {"\x89PNG", 4, "one PNG picture; IDX or .npy holds many"},
                {"\x93NUMPY", 6, "a NumPy array"},
                {"{", 1, "JSON"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (b->len >= rows[i].n &&
            memcmp(b->data, rows[i].bytes, rows[i].n) == 0)
            return rows[i].kind;
    return idx_is(b) ? "IDX" : "something else";
}

static enum tacit_err parse(const struct plan *plan, const char *path,
                            const struct buf *b, struct pooled *out)
{
    static const char *const wanted[] = {"a CSV table",
                                         ".npy (or IDX) for format: vectors",
                                         "IDX or .npy for format: images",
                                         ".jsonl for format: text"};
    if (b->len == 0) return fail_as(E_DATA_ENDS, "%s: the file is empty", path);
    if (plan->format == PLAN_TEXT && b->data[0] == '{')
        return jsonl_parse(plan, path, b, out);
    int numbers = plan->format == PLAN_IMAGES || plan->format == PLAN_VECTORS;
    if (numbers && npy_is(b)) return npy_load(plan, path, b, out);
    if (numbers && idx_is(b)) return idx_load(plan, path, b, out);
    return fail_as(E_DATA_KIND, "%s: wanted is %s; this is %s", path,
                   wanted[plan->format], kind_of(b));
}

enum tacit_err pooled_load(const struct plan *plan, const char *path,
                           struct pooled *out)
{
    struct buf bytes;
    buf_init(&bytes, 0);
    enum tacit_err err = file_read(path, POOLED_BYTES_MAX, &bytes);
    if (!err) err = buf_end(&bytes);
    if (!err) err = parse(plan, path, &bytes, out);
    buf_release(&bytes);
    return err;
}

/* ---- moving rows -------------------------------------------------------- */

struct row {
    float *x, *y; /* room for one row */
    uint32_t client;
    uint8_t is_test;
};

static void save_row(const struct pooled *p, size_t from, struct row *to)
{
    memcpy(to->x, p->x + from * p->x_dim, p->x_dim * sizeof *p->x);
    memcpy(to->y, p->y + from * p->y_dim, p->y_dim * sizeof *p->y);
    if (p->client) to->client = p->client[from];
    if (p->is_test) to->is_test = p->is_test[from];
}

static void put_row(struct pooled *p, size_t to, const struct row *from)
{
    memcpy(p->x + to * p->x_dim, from->x, p->x_dim * sizeof *p->x);
    memcpy(p->y + to * p->y_dim, from->y, p->y_dim * sizeof *p->y);
    if (p->client) p->client[to] = from->client;
    if (p->is_test) p->is_test[to] = from->is_test;
}

enum tacit_err pooled_order(struct pooled *p, uint32_t *order)
{
    struct arena a;
    struct row held = {0}, moved = {0};
    arena_init(&a, 0);
    enum tacit_err err = arena_alloc(&a, p->x_dim + 1, sizeof *p->x, &held.x);
    if (!err) err = arena_alloc(&a, p->y_dim + 1, sizeof *p->y, &held.y);
    if (!err) err = arena_alloc(&a, p->x_dim + 1, sizeof *p->x, &moved.x);
    if (!err) err = arena_alloc(&a, p->y_dim + 1, sizeof *p->y, &moved.y);
    /* Along each cycle: the row that belongs at j leaves its place free. */
    for (size_t i = 0; !err && i < p->n_rows; i++) {
        size_t j = i;
        if (order[i] == i) continue;
        save_row(p, i, &held);
        while (order[j] != i) {
            size_t from = order[j];
            save_row(p, from, &moved);
            put_row(p, j, &moved);
            order[j] = (uint32_t)j;
            j = from;
        }
        put_row(p, j, &held);
        order[j] = (uint32_t)j;
    }
    arena_release(&a);
    return err;
}

void pooled_view(const struct pooled *p, size_t first, size_t n,
                 struct examples *out)
{
    *out = (struct examples){.n_rows = n,
                             .x_dim = p->x_dim,
                             .y_dim = p->y_dim,
                             .x = p->x + first * p->x_dim,
                             .y = p->y + first * p->y_dim};
}
