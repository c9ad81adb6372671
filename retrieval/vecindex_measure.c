/* Recall as it is: some of a table's own vectors, searched twice. */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "retrieval/vecindex.h"
#include "retrieval/vecindex_table.h"

/* What is nearer than the k-th exact hit by less than this share is as good. */
#define TIE 1e-5

struct measuring {
    sqlite3 *db;
    sqlite3_stmt *sample, *search, *exact;
    size_t k;
    double *distance; /* [k] */
    size_t n_found, n_wanted;
    struct vecindex_watch watch;
    struct vecindex_recall r;
};

static enum tacit_err sql_failed(struct measuring *m)
{
    return fail(TACIT_IO, "measuring: %s", sqlite3_errmsg(m->db));
}

static enum tacit_err prepare(struct measuring *m, sqlite3_stmt **out,
                              char *text)
{
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    int rc = sqlite3_prepare_v2(m->db, text, -1, out, NULL);
    sqlite3_free(text);
    return rc ? sql_failed(m) : TACIT_OK;
}

/* The name of the vectors' column. */
static enum tacit_err find_column(struct measuring *m, const char *schema,
                                  const char *table, char **name)
{
    sqlite3_stmt *st = NULL;
    enum tacit_err err =
        prepare(m, &st,
                sqlite3_mprintf("SELECT tacit_vec_column(%Q, %Q)", schema,
                                table));
    if (!err && sqlite3_step(st) != SQLITE_ROW)
        err = fail(TACIT_NOTFOUND, "%s: %s", table, sqlite3_errmsg(m->db));
    if (!err) {
        *name = sqlite3_mprintf("%s", sqlite3_column_text(st, 0));
        if (!*name) err = fail(TACIT_NOMEM, "out of memory");
    }
    sqlite3_finalize(st);
    return err;
}

static enum tacit_err prepare_all(struct measuring *m, const char *schema,
                                  const char *table)
{
    static const char *const modes[] = {"", " AND exact = 1"};
    sqlite3_stmt **at[] = {&m->search, &m->exact};
    char *column = NULL;
    TRY(find_column(m, schema, table, &column));
    enum tacit_err err =
        prepare(m, &m->sample,
                sqlite3_mprintf("SELECT \"%w\", rowid FROM \"%w\".\"%w\""
                                " WHERE rowid >= ?1 ORDER BY rowid LIMIT 1",
                                column, schema, table));
    for (int i = 0; i < 2 && !err; i++)
        err = prepare(m, at[i],
                      sqlite3_mprintf("SELECT distance FROM \"%w\".\"%w\" WHERE"
                                      " \"%w\" MATCH ?1 AND k = ?2%s",
                                      schema, table, column, modes[i]));
    sqlite3_free(column);
    return err;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Distances of the k nearest to the sampled vector. */
static enum tacit_err search(struct measuring *m, sqlite3_stmt *st, size_t *n,
                             double *ms)
{
    int rc;
    double begin = now_ms();
    *n = 0;
    sqlite3_bind_value(st, 1, sqlite3_column_value(m->sample, 0));
    sqlite3_bind_int64(st, 2, (sqlite3_int64)m->k);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW && *n < m->k)
        m->distance[(*n)++] = sqlite3_column_double(st, 0);
    enum tacit_err err =
        rc == SQLITE_DONE || rc == SQLITE_ROW ? TACIT_OK : sql_failed(m);
    sqlite3_reset(st);
    *ms += now_ms() - begin;
    return err;
}

static enum tacit_err measure_one(struct measuring *m)
{
    size_t n_exact, n;
    TRY(search(m, m->exact, &n_exact, &m->r.exact_ms));
    double last = n_exact ? m->distance[n_exact - 1] : 0;
    TRY(search(m, m->search, &n, &m->r.search_ms));
    for (size_t i = 0; i < n && i < n_exact; i++)
        m->n_found += m->distance[i] <= last + TIE * (1 + fabs(last));
    m->n_wanted += n_exact;
    m->r.n_queries++;
    return TACIT_OK;
}

/* The first row at or behind id; *has = 0 behind the last. */
static enum tacit_err sample(struct measuring *m, sqlite3_int64 id, int *has)
{
    sqlite3_reset(m->sample);
    sqlite3_bind_int64(m->sample, 1, id);
    int rc = sqlite3_step(m->sample);
    *has = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? TACIT_OK : sql_failed(m);
}

/* Queries at ids that are evenly spread from the first to the last. */
static enum tacit_err measure_all(struct measuring *m, const char *schema,
                                  const char *table, size_t n)
{
    sqlite3_stmt *st = NULL;
    TRY(prepare(m, &st,
                sqlite3_mprintf("SELECT min(id), max(id) FROM"
                                " \"%w\".\"%w_place\"",
                                schema, table)));
    enum tacit_err err =
        sqlite3_step(st) == SQLITE_ROW ? TACIT_OK : sql_failed(m);
    double first = sqlite3_column_double(st, 0);
    double last = sqlite3_column_double(st, 1);
    sqlite3_finalize(st);
    for (size_t i = 0; i < n && !err; i++) {
        int has = 0;
        if (m->watch.step) m->watch.step(m->watch.ctx, i, n);
        double at = first + (last - first) * (double)i / (double)n;
        err = sample(m, (sqlite3_int64)at, &has);
        if (!err && !has) break;
        if (!err) err = measure_one(m);
    }
    return err;
}

enum tacit_err vecindex_measure(sqlite3 *db, const char *schema,
                                const char *table, size_t n, size_t k,
                                const struct vecindex_watch *watch,
                                struct vecindex_recall *out)
{
    struct measuring m = {.db = db, .k = k};
    if (watch) m.watch = *watch;
    if (k < 1 || k > IVF_K_MAX)
        return fail(TACIT_LIMIT, "k is %zu, want 1 to %d", k, IVF_K_MAX);
    m.distance = malloc(k * sizeof *m.distance);
    if (!m.distance) return fail(TACIT_NOMEM, "out of memory");
    enum tacit_err err = prepare_all(&m, schema, table);
    if (!err) err = measure_all(&m, schema, table, n);
    sqlite3_finalize(m.sample);
    sqlite3_finalize(m.search);
    sqlite3_finalize(m.exact);
    free(m.distance);
    if (err) return err;
    m.r.k = k;
    m.r.recall = m.n_wanted ? (double)m.n_found / (double)m.n_wanted : 1;
    if (m.r.n_queries) {
        m.r.search_ms /= (double)m.r.n_queries;
        m.r.exact_ms /= (double)m.r.n_queries;
    }
    *out = m.r;
    return TACIT_OK;
}
