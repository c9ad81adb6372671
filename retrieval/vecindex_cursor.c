/*
 * Rows and columns. A search is over when its cursor is opened: what is walked
 * is its result, so a write may go on beside it. A scan walks v_place by a
 * statement of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/vecindex_table.h"

struct cursor {
    sqlite3_vtab_cursor base;
    enum vecindex_plan plan;
    struct vecindex_found found; /* of a search, and the one of a point */
    size_t at;
    sqlite3_stmt *scan; /* owned */
    int64_t id;
    bool is_over;
};

static struct vecindex_table *table_of(struct cursor *c)
{
    return (struct vecindex_table *)c->base.pVtab;
}

int vecindex_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    (void)vtab;
    struct cursor *c = calloc(1, sizeof *c);
    if (!c) return SQLITE_NOMEM;
    *out = &c->base;
    return SQLITE_OK;
}

static void clear(struct cursor *c)
{
    free(c->found.hits);
    sqlite3_finalize(c->scan);
    memset(&c->found, 0, sizeof c->found);
    c->scan = NULL;
    c->at = 0;
    c->is_over = true;
}

int vecindex_close(sqlite3_vtab_cursor *base)
{
    struct cursor *c = (struct cursor *)base;
    clear(c);
    free(c);
    return SQLITE_OK;
}

/* ---- walking --------------------------------------------------------------
 */

static enum tacit_err step_scan(struct cursor *c)
{
    int rc = sqlite3_step(c->scan);
    c->is_over = rc != SQLITE_ROW;
    if (!c->is_over) c->id = sqlite3_column_int64(c->scan, 0);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) return TACIT_OK;
    return vecindex_sql_fail(table_of(c), rc);
}

/* Bounds that are integers; SQLite tests the others. */
static void read_bounds(const char *terms, int n, sqlite3_value **values,
                        int64_t *lo, int64_t *hi)
{
    for (int i = 0; i < n; i++) {
        char how = terms[i * 3 + 1];
        if (sqlite3_value_type(values[i]) != SQLITE_INTEGER) continue;
        int64_t v = sqlite3_value_int64(values[i]);
        if (how == COMPARE_GT || how == COMPARE_GE)
            *lo = v > *lo ? v : *lo;
        else
            *hi = v < *hi ? v : *hi;
    }
}

static enum tacit_err begin_scan(struct cursor *c, const char *terms, int n,
                                 sqlite3_value **values)
{
    struct vecindex_table *t = table_of(c);
    int64_t lo = INT64_MIN, hi = INT64_MAX;
    read_bounds(terms, n, values, &lo, &hi);
    char *text = sqlite3_mprintf("SELECT id FROM \"%w\".\"%w_place\""
                                 " WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
                                 t->schema, t->name);
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    int rc = sqlite3_prepare_v2(t->db, text, -1, &c->scan, NULL);
    sqlite3_free(text);
    if (rc) return vecindex_sql_fail(t, rc);
    sqlite3_bind_int64(c->scan, 1, lo);
    sqlite3_bind_int64(c->scan, 2, hi);
    return step_scan(c);
}

static enum tacit_err begin_point(struct cursor *c, sqlite3_value *v)
{
    struct vecindex_table *t = table_of(c);
    bool has;
    if (sqlite3_value_numeric_type(v) != SQLITE_INTEGER) {
        double d = sqlite3_value_double(v);
        if (sqlite3_value_type(v) != SQLITE_FLOAT ||
            !(d >= -9e18 && d <= 9e18) || d != (double)(int64_t)d)
            return TACIT_OK;
    }
    c->id = sqlite3_value_int64(v);
    TRY(vecindex_has(t, c->id, &has));
    c->is_over = !has;
    return TACIT_OK;
}

static enum tacit_err begin_nearest(struct cursor *c, const char *terms, int n,
                                    sqlite3_value **values)
{
    TRY(vecindex_nearest(table_of(c), terms, n, values, &c->found));
    c->is_over = c->found.n == 0;
    if (!c->is_over) c->id = c->found.hits[0].id;
    return TACIT_OK;
}

int vecindex_filter(sqlite3_vtab_cursor *base, int plan, const char *terms,
                    int n_values, sqlite3_value **values)
{
    struct cursor *c = (struct cursor *)base;
    enum tacit_err err;
    clear(c);
    c->plan = (enum vecindex_plan)plan;
    if (c->plan == PLAN_NEAREST)
        err = begin_nearest(c, terms, n_values, values);
    else if (c->plan == PLAN_POINT)
        err = begin_point(c, values[0]);
    else
        err = begin_scan(c, terms, n_values, values);
    return vecindex_end(table_of(c), err);
}

int vecindex_next(sqlite3_vtab_cursor *base)
{
    struct cursor *c = (struct cursor *)base;
    if (c->plan == PLAN_SCAN) return vecindex_end(table_of(c), step_scan(c));
    c->is_over = c->plan == PLAN_POINT || ++c->at >= c->found.n;
    if (!c->is_over) c->id = c->found.hits[c->at].id;
    return SQLITE_OK;
}

int vecindex_eof(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *)base)->is_over;
}

int vecindex_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *id)
{
    *id = ((struct cursor *)base)->id;
    return SQLITE_OK;
}

/* ---- columns --------------------------------------------------------------
 */

static enum tacit_err column_vector(struct cursor *c, sqlite3_context *ctx)
{
    struct vecindex_table *t = table_of(c);
    size_t dim = t->args.dim;
    bool has;
    TRY(vecindex_has(t, c->id, &has));
    /* Deleted since the search: its columns are NULL. */
    if (!has) return TACIT_OK;
    TRY(vecindex_ready(t));
    TRY(ivf_vector(t->ivf, c->id, t->vector));
    uint8_t *out = sqlite3_malloc64(dim * 4);
    if (!out) return fail(TACIT_NOMEM, "out of memory");
    for (size_t i = 0; i < dim; i++) {
        uint32_t bits;
        memcpy(&bits, &t->vector[i], sizeof bits);
        for (size_t b = 0; b < 4; b++)
            out[4 * i + b] = (uint8_t)(bits >> 8 * b);
    }
    sqlite3_result_blob64(ctx, out, dim * 4, sqlite3_free);
    return TACIT_OK;
}

/* Where a column stands in SQL_AUX_READ. */
static int place_of(const struct vecindex_table *t,
                    const struct vecindex_column *column)
{
    if (column->kind == VECINDEX_KEY) return 1 + column->at;
    if (column->kind == VECINDEX_FILTER) return 1 + t->args.n_keys + column->at;
    return 1 + t->args.n_keys + t->args.n_filters + column->at;
}

static enum tacit_err column_kept(struct cursor *c,
                                  const struct vecindex_column *column,
                                  sqlite3_context *ctx)
{
    struct vecindex_table *t = table_of(c);
    sqlite3_stmt *st;
    bool has;
    TRY(vecindex_sql_get(t, SQL_AUX_READ, &st));
    sqlite3_bind_int64(st, 1, c->id);
    TRY(vecindex_sql_step(t, SQL_AUX_READ, &has));
    if (has)
        sqlite3_result_value(ctx,
                             sqlite3_column_value(st, place_of(t, column)));
    return TACIT_OK;
}

static void column_hidden(struct cursor *c, int hidden, sqlite3_context *ctx)
{
    if (c->plan != PLAN_NEAREST) return;
    const struct vecindex_found *f = &c->found;
    switch (hidden) {
    case HIDDEN_DISTANCE:
        sqlite3_result_double(ctx, (double)f->hits[c->at].distance);
        break;
    case HIDDEN_K: sqlite3_result_int64(ctx, f->k); break;
    case HIDDEN_RECALL: sqlite3_result_double(ctx, f->recall); break;
    case HIDDEN_PROBES:
        if (f->probes) sqlite3_result_int64(ctx, f->probes);
        break;
    case HIDDEN_EXACT: sqlite3_result_int64(ctx, f->exact); break;
    default: break;
    }
}

int vecindex_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int i)
{
    struct cursor *c = (struct cursor *)base;
    struct vecindex_table *t = table_of(c);
    enum tacit_err err = TACIT_OK;
    /* An UPDATE that leaves these alone need not see them. */
    if ((i >= t->args.n_columns || i == t->args.vector) &&
        sqlite3_vtab_nochange(ctx))
        return SQLITE_OK;
    if (i >= t->args.n_columns)
        column_hidden(c, i - t->args.n_columns, ctx);
    else if (i == t->args.vector)
        err = column_vector(c, ctx);
    else
        err = column_kept(c, &t->args.column[i], ctx);
    return vecindex_end(t, err);
}
