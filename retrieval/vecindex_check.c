/* Commands, checks, and SQL functions. */
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/vecindex.h"
#include "retrieval/vecindex_table.h"

#define VERSION        "1"
#define REPORT_POINTER "tacit_vec_report"
#define SEARCH_POINTER "tacit_vec_search"
#define WATCH_POINTER  "tacit_vec_watch"
/* One optimize does at most about so many lists. */
#define OPTIMIZE_BUDGET UINT64_C(1000000)

/* ---- the other columns as ivf wants them ----------------------------------
 */

static enum tacit_err read_word(const struct vecindex_table *t,
                                sqlite3_stmt *st, int i, int64_t *word)
{
    const struct vecindex_column *c =
        vecindex_args_column(&t->args, VECINDEX_FILTER, i);
    sqlite3_value *v =
        sqlite3_value_dup(sqlite3_column_value(st, 1 + t->args.n_keys + i));
    if (!v) return fail(TACIT_NOMEM, "out of memory");
    enum tacit_err err = vecindex_value_word(c, v, word);
    sqlite3_value_free(v);
    return err;
}

static enum tacit_err read_words(const struct vecindex_table *t,
                                 sqlite3_stmt *st, int64_t *words)
{
    for (int i = 0; i < t->args.n_filters; i++)
        TRY(read_word(t, st, i, &words[i]));
    return TACIT_OK;
}

/* As read_words(); NULL stands for what no such column holds. */
static enum tacit_err save_words(const struct vecindex_table *t,
                                 sqlite3_stmt *st, int64_t *words)
{
    for (int i = 0; i < t->args.n_filters; i++) {
        enum tacit_err err = read_word(t, st, i, &words[i]);
        if (err && err != TACIT_FORMAT) return err;
        if (err) words[i] = VECINDEX_WORD_NULL;
        err_clear();
    }
    return TACIT_OK;
}

/* Partition and words of a row from its other columns; where they are lost,
 * NULL stands for them. */
static enum tacit_err describe(void *arg, int64_t id, int64_t *part,
                               int64_t *words)
{
    struct vecindex_table *t = arg;
    sqlite3_value *keys[VECINDEX_KEYS_MAX] = {NULL};
    sqlite3_stmt *st;
    bool has;
    *part = 1;
    for (int i = 0; i < t->args.n_filters; i++) words[i] = VECINDEX_WORD_NULL;
    if (t->args.n_keys + t->args.n_filters == 0) return TACIT_OK;
    TRY(vecindex_sql_get(t, SQL_AUX_READ, &st));
    sqlite3_bind_int64(st, 1, id);
    TRY(vecindex_sql_step(t, SQL_AUX_READ, &has));
    for (int i = 0; i < t->args.n_keys; i++)
        keys[i] = sqlite3_value_dup(sqlite3_column_value(st, 1 + i));
    enum tacit_err err = has ? save_words(t, st, words) : TACIT_OK;
    vecindex_sql_reset(t, SQL_AUX_READ);
    if (!err) err = vecindex_partition(t, keys, VECINDEX_MAKE, part);
    for (int i = 0; i < t->args.n_keys; i++) sqlite3_value_free(keys[i]);
    return err;
}

/* ---- integrity ------------------------------------------------------------
 */

static void problem(struct ivf_report *r, const char *what, int64_t id)
{
    if (!r->problems++)
        sqlite3_snprintf(sizeof r->first, r->first, "row %lld: %s", id, what);
}

/* Whether row st, from examine_aux(), lies in the partition of its keys. */
static enum tacit_err compare_part(struct vecindex_table *t, sqlite3_stmt *st,
                                   struct ivf_report *r)
{
    sqlite3_value *keys[VECINDEX_KEYS_MAX] = {NULL};
    int64_t part = 0;
    for (int i = 0; i < t->args.n_keys; i++)
        keys[i] = sqlite3_value_dup(sqlite3_column_value(st, 1 + i));
    enum tacit_err err = vecindex_partition(t, keys, VECINDEX_FIND, &part);
    if (!err && part != sqlite3_column_int64(st, sqlite3_column_count(st) - 1))
        problem(r, "lies in the partition of other keys",
                sqlite3_column_int64(st, 0));
    for (int i = 0; i < t->args.n_keys; i++) sqlite3_value_free(keys[i]);
    return err;
}

/* The words of row st against the index. */
static enum tacit_err compare_words(struct vecindex_table *t, sqlite3_stmt *st,
                                    struct ivf_report *r)
{
    int64_t id = sqlite3_column_int64(st, 0);
    int64_t want[VECINDEX_FILTERS_MAX], got[VECINDEX_FILTERS_MAX];
    size_t n = (size_t)t->args.n_filters * sizeof *want;
    if (!n) return TACIT_OK;
    enum tacit_err err = read_words(t, st, want);
    if (!err) err = ivf_words(t->ivf, id, got);
    if (err == TACIT_NOMEM || t->rc) return err;
    if (err)
        problem(r, err_message(), id);
    else if (memcmp(want, got, n) != 0)
        problem(r, "its filter columns differ from the index", id);
    err_clear();
    return TACIT_OK;
}

/* All rows of the other columns: each has a vector, and the index its words.
 * The walk is a statement of its own, as reading words uses the others. */
static enum tacit_err examine_aux(struct vecindex_table *t,
                                  struct ivf_report *r)
{
    sqlite3_stmt *st = NULL;
    uint64_t n = 0;
    int rc;
    if (t->args.n_keys + t->args.n_filters + t->args.n_aux == 0)
        return TACIT_OK;
    char *text =
        sqlite3_mprintf("SELECT a.*, p.id, l.part FROM \"%w\".\"%w_aux\" a"
                        " LEFT JOIN \"%w\".\"%w_place\" p ON p.id = a.id"
                        " LEFT JOIN \"%w\".\"%w_list\" l ON l.id = p.list",
                        t->schema, t->name, t->schema, t->name, t->schema,
                        t->name);
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    rc = sqlite3_prepare_v2(t->db, text, -1, &st, NULL);
    sqlite3_free(text);
    enum tacit_err err = rc ? vecindex_sql_fail(t, rc) : TACIT_OK;
    int place = sqlite3_column_count(st) - 2;
    while (!err && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        n++;
        if (sqlite3_column_type(st, place) == SQLITE_NULL) {
            problem(r, "has columns but no vector; insert it again",
                    sqlite3_column_int64(st, 0));
            continue;
        }
        err = compare_words(t, st, r);
        if (!err) err = compare_part(t, st, r);
    }
    if (!err && rc != SQLITE_DONE) err = vecindex_sql_fail(t, rc);
    sqlite3_finalize(st);
    if (!err && n < r->rows && !r->problems++)
        sqlite3_snprintf(sizeof r->first, r->first,
                         "%llu rows have vectors but no other columns; update "
                         "or delete them",
                         (unsigned long long)(r->rows - n));
    return err;
}

/* Segments under keys that no list has, where the walk by lists does not come.
 */
static enum tacit_err examine_keys(struct vecindex_table *t,
                                   struct ivf_report *r)
{
    sqlite3_stmt *st;
    bool has;
    TRY(vecindex_sql_get(t, SQL_SEG_FIRST, &st));
    TRY(vecindex_sql_step(t, SQL_SEG_FIRST, &has));
    int64_t first = has && sqlite3_column_type(st, 0) != SQLITE_NULL
                        ? sqlite3_column_int64(st, 0)
                        : VECINDEX_SEG_MIN;
    vecindex_sql_reset(t, SQL_SEG_FIRST);
    if (first < VECINDEX_SEG_MIN)
        problem(r, "is the key of a segment of no list", first);
    return TACIT_OK;
}

/* The whole index against its rows. */
static enum tacit_err examine(struct vecindex_table *t,
                              struct ivf_report *report)
{
    struct ivf_report r = {0};
    TRY(vecindex_ready(t));
    TRY(ivf_validate(t->ivf, &r));
    TRY(examine_keys(t, &r));
    TRY(examine_aux(t, &r));
    *report = r;
    return TACIT_OK;
}

static enum tacit_err check_integrity(struct vecindex_table *t)
{
    struct ivf_report r = {0};
    TRY(examine(t, &r));
    if (!r.problems) return TACIT_OK;
    return fail_as(E_INDEX_DAMAGED, "%s: %llu faults, the first: %s", t->name,
                   (unsigned long long)r.problems, r.first);
}

/* ---- commands -------------------------------------------------------------
 */

static enum tacit_err rebuild(struct vecindex_table *t)
{
    TRY(vecindex_held_write(t));
    TRY(vecindex_tear(t));
    ivf_close(t->ivf);
    t->ivf = NULL;
    TRY(vecindex_sql_create(t, VECINDEX_MISSING));
    TRY(vecindex_sql_clear(t));
    TRY(vecindex_settle(t));
    TRY(vecindex_ready(t));
    return ivf_rebuild(t->ivf, describe, t);
}

static enum tacit_err optimize(struct vecindex_table *t)
{
    bool done;
    TRY(vecindex_ready(t));
    TRY(vecindex_tear(t));
    return ivf_optimise(t->ivf, OPTIMIZE_BUDGET, &done);
}

enum tacit_err vecindex_command(struct vecindex_table *t, const char *command)
{
    static const char import[] = "import:";
    if (strcmp(command, "integrity-check") == 0) return check_integrity(t);
    if (strcmp(command, "optimize") == 0) return optimize(t);
    if (strcmp(command, "rebuild") == 0) return rebuild(t);
    if (strncmp(command, import, sizeof import - 1) == 0)
        return vecindex_import(t, command + sizeof import - 1);
    return fail(TACIT_UNSUPPORTED,
                "%s: the commands are integrity-check, "
                "optimize, rebuild and import:TABLE",
                t->name);
}

/* ---- functions ------------------------------------------------------------
 */

static struct vecindex_table *find_connected(struct vecindex_module *m,
                                             const char *schema,
                                             const char *name)
{
    for (struct vecindex_table *t = m->first; t; t = t->next)
        if (sqlite3_stricmp(t->schema, schema) == 0 &&
            sqlite3_stricmp(t->name, name) == 0)
            return t;
    return NULL;
}

/* SQLite connects a table when a statement names it. */
static struct vecindex_table *find_table(struct vecindex_module *m,
                                         const char *schema, const char *name)
{
    struct vecindex_table *t = find_connected(m, schema, name);
    sqlite3_stmt *st = NULL;
    if (t) return t;
    char *text = sqlite3_mprintf("SELECT 1 FROM \"%w\".\"%w\"", schema, name);
    if (text && sqlite3_prepare_v2(m->db, text, -1, &st, NULL) == SQLITE_OK)
        t = find_connected(m, schema, name);
    sqlite3_finalize(st);
    sqlite3_free(text);
    return t;
}

/* What is wrong with the table, in r->first; or SQLite's code for what kept
 * this from being found out. */
static int find_problem(struct vecindex_table *t, struct ivf_report *r)
{
    *r = (struct ivf_report){0};
    enum tacit_err err = examine(t, r);
    int rc = vecindex_end(t, err);
    if (rc != SQLITE_CORRUPT_VTAB && (rc & 0xff) != SQLITE_CORRUPT) return rc;
    *r = (struct ivf_report){.problems = 1};
    sqlite3_snprintf(sizeof r->first, r->first, "%s", t->base.zErrMsg);
    return SQLITE_OK;
}

int vecindex_integrity(sqlite3_vtab *vtab, const char *schema, const char *name,
                       int is_quick, char **problem)
{
    struct ivf_report r;
    if (is_quick) return SQLITE_OK;
    int rc = find_problem((struct vecindex_table *)vtab, &r);
    if (rc || !r.problems) return rc;
    *problem = sqlite3_mprintf("%s.%s: %s", schema, name, r.first);
    return *problem ? SQLITE_OK : SQLITE_NOMEM;
}

/* tacit_vec_check([schema,] table): "ok", or what is wrong. */
static void check_function(sqlite3_context *ctx, int n, sqlite3_value **v)
{
    struct vecindex_module *m = sqlite3_user_data(ctx);
    const char *schema =
        n > 1 ? (const char *)sqlite3_value_text(v[0]) : "main";
    const char *name = (const char *)sqlite3_value_text(v[n > 1]);
    struct ivf_report *out =
        n > 2 ? sqlite3_value_pointer(v[2], REPORT_POINTER) : NULL;
    struct ivf_report r;
    struct vecindex_table *t =
        schema && name ? find_table(m, schema, name) : NULL;
    if (!t) {
        sqlite3_result_error(ctx, "tacit_vec_check: no such tacit_vec table",
                             -1);
        return;
    }
    int rc = find_problem(t, &r);
    if (rc) {
        sqlite3_result_error(ctx, t->base.zErrMsg ? t->base.zErrMsg : "", -1);
        sqlite3_result_error_code(ctx, rc);
        return;
    }
    if (out) *out = r;
    sqlite3_result_text(ctx, r.problems ? r.first : "ok", -1, SQLITE_TRANSIENT);
}

/* tacit_vec_import(table, source): INSERT INTO table(table) VALUES
 * ('import:source'), for those who look for a function. */
static void import_function(sqlite3_context *ctx, int n, sqlite3_value **v)
{
    struct vecindex_module *m = sqlite3_user_data(ctx);
    const char *name = (const char *)sqlite3_value_text(v[0]);
    const char *source = (const char *)sqlite3_value_text(v[1]);
    char *message = NULL;
    (void)n;
    char *text = name && source ? sqlite3_mprintf("INSERT INTO \"%w\"(\"%w\")"
                                                  " VALUES ('import:%q')",
                                                  name, name, source)
                                : NULL;
    if (!text) {
        sqlite3_result_error(ctx, "tacit_vec_import(table, source)", -1);
        return;
    }
    int rc = sqlite3_exec(m->db, text, NULL, NULL, &message);
    if (rc) {
        sqlite3_result_error(ctx, message ? message : "", -1);
        sqlite3_result_error_code(ctx, rc);
        if (message) sqlite3_result_error(ctx, message, -1);
    }
    sqlite3_free(message);
    sqlite3_free(text);
}

/* A search that has C's own arrays, on its way through SQLite. */
struct direct {
    const struct ivf_query *query;
    struct ivf_hit *hits;
    size_t n;
};

/* tacit_vec_search(schema, table, pointer): for vecindex_search() alone. */
static void search_function(sqlite3_context *ctx, int n, sqlite3_value **v)
{
    const char *schema = (const char *)sqlite3_value_text(v[0]);
    const char *name = (const char *)sqlite3_value_text(v[1]);
    struct direct *d = sqlite3_value_pointer(v[2], SEARCH_POINTER);
    struct vecindex_table *t =
        d && schema && name ? find_table(sqlite3_user_data(ctx), schema, name)
                            : NULL;
    (void)n;
    if (!t) {
        sqlite3_result_error(ctx, "no such tacit_vec table", -1);
        return;
    }
    enum tacit_err err = vecindex_ready(t);
    if (!err) err = ivf_check(t->ivf, d->query->v);
    if (!err) err = ivf_search(t->ivf, d->query, d->hits, &d->n, NULL);
    int rc = vecindex_end(t, err);
    if (!rc) return;
    sqlite3_result_error(ctx, t->base.zErrMsg ? t->base.zErrMsg : "", -1);
    sqlite3_result_error_code(ctx, rc);
}

/* tacit_vec_watch(pointer): for vecindex_watch() alone. */
static void watch_function(sqlite3_context *ctx, int n, sqlite3_value **v)
{
    struct vecindex_module *m = sqlite3_user_data(ctx);
    const struct vecindex_watch *w = sqlite3_value_pointer(v[0], WATCH_POINTER);
    (void)n;
    if (w) m->watch = *w;
}

/* tacit_vec_column(schema, table): the name of its vectors' column. */
static void column_function(sqlite3_context *ctx, int n, sqlite3_value **v)
{
    const char *schema = (const char *)sqlite3_value_text(v[0]);
    const char *name = (const char *)sqlite3_value_text(v[1]);
    struct vecindex_table *t =
        schema && name ? find_table(sqlite3_user_data(ctx), schema, name)
                       : NULL;
    (void)n;
    if (t)
        sqlite3_result_text(ctx, t->args.column[t->args.vector].name, -1,
                            SQLITE_TRANSIENT);
    else
        sqlite3_result_error(ctx, "no such tacit_vec table", -1);
}

static void version_function(sqlite3_context *ctx, int n, sqlite3_value **v)
{
    (void)n;
    (void)v;
    sqlite3_result_text(ctx, VERSION, -1, SQLITE_STATIC);
}

int vecindex_functions(struct vecindex_module *m)
{
    static const struct {
        const char *name;
        int n, flags;
        void (*run)(sqlite3_context *, int, sqlite3_value **);
    } all[] = {
        {"tacit_vec_check", 1, 0, check_function},
        {"tacit_vec_check", 2, 0, check_function},
        {"tacit_vec_check", 3, 0, check_function},
        {"tacit_vec_column", 2, 0, column_function},
        {"tacit_vec_import", 2, 0, import_function},
        {"tacit_vec_search", 3, 0, search_function},
        {"tacit_vec_watch", 1, 0, watch_function},
        {"tacit_vec_version", 0, SQLITE_DETERMINISTIC, version_function},
    };
    int rc = SQLITE_OK;
    for (size_t i = 0; i < sizeof all / sizeof all[0] && !rc; i++) {
        m->users++;
        rc = sqlite3_create_function_v2(m->db, all[i].name, all[i].n,
                                        SQLITE_UTF8 | SQLITE_DIRECTONLY |
                                            all[i].flags,
                                        m, all[i].run, NULL, NULL,
                                        vecindex_module_release);
    }
    return rc;
}

/* What SQLite's code of a table's failure is to a caller. */
static enum tacit_err failed(sqlite3 *db, int rc, const char *table)
{
    if ((rc & 0xff) == SQLITE_CORRUPT || rc == SQLITE_IOERR_DATA)
        return fail_as(E_INDEX_DAMAGED, "%s: %s", table, sqlite3_errmsg(db));
    return fail(rc == SQLITE_NOMEM   ? TACIT_NOMEM
                : rc == SQLITE_ERROR ? TACIT_NOTFOUND
                                     : TACIT_IO,
                "%s: %s", table, sqlite3_errmsg(db));
}

enum tacit_err vecindex_watch(sqlite3 *db, struct vecindex_watch watch)
{
    sqlite3_stmt *st = NULL;
    int rc =
        sqlite3_prepare_v2(db, "SELECT tacit_vec_watch(?1)", -1, &st, NULL);
    if (!rc) {
        sqlite3_bind_pointer(st, 1, &watch, WATCH_POINTER, NULL);
        rc = sqlite3_step(st);
    }
    enum tacit_err err =
        rc == SQLITE_ROW ? TACIT_OK : failed(db, rc, "tacit_vec");
    sqlite3_finalize(st);
    return err;
}

/* Call an SQL function of ours on a table, with what it fills. */
static enum tacit_err call(sqlite3 *db, const char *sql, const char *schema,
                           const char *table, void *filled, const char *pointer)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (!rc) {
        sqlite3_bind_text(st, 1, schema, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 2, table, -1, SQLITE_STATIC);
        sqlite3_bind_pointer(st, 3, filled, pointer, NULL);
        rc = sqlite3_step(st);
    }
    enum tacit_err err = rc == SQLITE_ROW ? TACIT_OK : failed(db, rc, table);
    sqlite3_finalize(st);
    return err;
}

enum tacit_err vecindex_check(sqlite3 *db, const char *schema,
                              const char *table, struct ivf_report *report)
{
    struct ivf_report r = {0};
    enum tacit_err err = call(db, "SELECT tacit_vec_check(?1, ?2, ?3)", schema,
                              table, &r, REPORT_POINTER);
    if (!err) *report = r;
    return err;
}

enum tacit_err vecindex_search(sqlite3 *db, const char *schema,
                               const char *table, const struct ivf_query *query,
                               struct ivf_hit *hits, size_t *n)
{
    struct direct d = {.query = query, .hits = hits};
    enum tacit_err err = call(db, "SELECT tacit_vec_search(?1, ?2, ?3)", schema,
                              table, &d, SEARCH_POINTER);
    if (!err) *n = d.n;
    return err;
}

enum tacit_err vecindex_rebuild(sqlite3 *db, const char *schema,
                                const char *table)
{
    char *message = NULL;
    char *text = sqlite3_mprintf("INSERT INTO \"%w\".\"%w\"(\"%w\") VALUES"
                                 " ('rebuild')",
                                 schema, table, table);
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    int rc = sqlite3_exec(db, text, NULL, NULL, &message);
    sqlite3_free(text);
    enum tacit_err err = TACIT_OK;
    if (rc)
        err = fail(rc == SQLITE_NOMEM   ? TACIT_NOMEM
                   : rc == SQLITE_ERROR ? TACIT_NOTFOUND
                                        : TACIT_IO,
                   "%s", message ? message : sqlite3_errstr(rc));
    sqlite3_free(message);
    return err;
}
