#include "retrieval/vecindex.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/rabitq.h"
#include "retrieval/vecindex_table.h"

/* ---- ends of operations ---------------------------------------------------
 */

/* The rotation's name, without RABITQ_MIXING. Rows are kept rotated, so it is
 * part of the format: an index is made anew from its rows alone, which say
 * whether it mixes. */
enum { SEED = 0x7ac1 };

static int code_of(enum tacit_err err)
{
    if (err_id() == E_INDEX_DAMAGED) return SQLITE_CORRUPT_VTAB;
    if (err == TACIT_NOMEM) return SQLITE_NOMEM;
    return SQLITE_ERROR;
}

int vecindex_end(struct vecindex_table *t, enum tacit_err err)
{
    vecindex_sql_reset_all(t);
    vecindex_ahead_end(t);
    if (t->is_outdated && t->ivf) ivf_forget(t->ivf);
    t->is_outdated = false;
    int rc = t->rc;
    t->rc = 0;
    if (!err) return SQLITE_OK;
    if (!rc) rc = code_of(err);
    sqlite3_free(t->base.zErrMsg);
    t->base.zErrMsg =
        rc == SQLITE_CORRUPT_VTAB
            ? sqlite3_mprintf("%s; to build the index anew from its rows: "
                              "INSERT INTO \"%w\"(\"%w\") VALUES ('rebuild')",
                              err_message(), t->name, t->name)
            : sqlite3_mprintf("%s", err_message());
    err_clear();
    return rc;
}

/* A failure where there is no table to put it. */
static int end_without(enum tacit_err err, char **message)
{
    int rc = code_of(err);
    *message = sqlite3_mprintf("%s", err_message());
    err_clear();
    return rc;
}

/* ---- the index ------------------------------------------------------------
 */

static enum tacit_err check_settings(const struct vecindex_table *t)
{
    const struct ivf_settings *s = ivf_settings(t->ivf);
    if (s->dim == t->args.dim && s->metric == t->args.metric &&
        s->rows == t->args.rows &&
        (s->seed == SEED || s->seed == rabitq_seed(s->dim, SEED)) &&
        s->columns == (uint32_t)t->args.n_filters)
        return TACIT_OK;
    return fail_as(E_INDEX_DAMAGED,
                   "%s: its index was made for other columns or options",
                   t->name);
}

static void tell(void *ctx, uint64_t done, uint64_t total)
{
    struct vecindex_table *t = ctx;
    const struct vecindex_watch *w = &t->module->watch;
    if (w->step) w->step(w->ctx, done, total);
}

enum tacit_err vecindex_ready(struct vecindex_table *t)
{
    if (!t->ivf) {
        struct ivf *ix;
        TRY(ivf_open(&t->store, &ix));
        t->ivf = ix;
        ivf_watch(ix, tell, t);
        enum tacit_err err = check_settings(t);
        if (!err) return TACIT_OK;
        ivf_close(ix);
        t->ivf = NULL;
        return err;
    }
    if (!t->adds) TRY(vecindex_held_write(t));
    if (t->is_fresh) return TACIT_OK;
    return ivf_refresh(t->ivf);
}

enum tacit_err vecindex_has(struct vecindex_table *t, int64_t id, bool *has)
{
    uint32_t lists[2];
    return t->store.place_read(t, id, has, lists);
}

/* The seed of the rows that are there; the best one where there are none. */
static enum tacit_err seed_of_rows(struct vecindex_table *t, uint64_t *seed)
{
    sqlite3_stmt *st;
    bool has;
    *seed = rabitq_seed(t->args.dim, SEED);
    if (*seed == SEED) return TACIT_OK;
    TRY(vecindex_sql_get(t, SQL_ROWS_UNMIXED, &st));
    TRY(vecindex_sql_step(t, SQL_ROWS_UNMIXED, &has));
    if (has && sqlite3_column_int(st, 0)) *seed = SEED;
    vecindex_sql_reset(t, SQL_ROWS_UNMIXED);
    return TACIT_OK;
}

enum tacit_err vecindex_settle(struct vecindex_table *t)
{
    struct ivf_settings s = {.dim = t->args.dim,
                             .columns = (uint32_t)t->args.n_filters,
                             .metric = t->args.metric,
                             .rows = t->args.rows};
    TRY(seed_of_rows(t, &s.seed));
    TRY(vecindex_sql_room(t, &s.segment_bytes));
    if (s.segment_bytes > IVF_SEGMENT_BYTES_MAX)
        s.segment_bytes = IVF_SEGMENT_BYTES_MAX;
    return ivf_create(&t->store, &s);
}

enum tacit_err vecindex_partition(struct vecindex_table *t,
                                  sqlite3_value **keys,
                                  enum vecindex_missing missing, int64_t *part)
{
    sqlite3_stmt *st;
    bool has;
    int n = t->args.n_keys;
    if (!n) {
        *part = 1;
        return TACIT_OK;
    }
    TRY(vecindex_sql_get(t, SQL_PART_FIND, &st));
    for (int i = 0; i < n; i++) sqlite3_bind_value(st, i + 1, keys[i]);
    TRY(vecindex_sql_step(t, SQL_PART_FIND, &has));
    *part = has ? sqlite3_column_int64(st, 0) : 0;
    vecindex_sql_reset(t, SQL_PART_FIND);
    if (has || missing == VECINDEX_FIND) return TACIT_OK;
    TRY(vecindex_sql_get(t, SQL_PART_ADD, &st));
    for (int i = 0; i < n; i++) sqlite3_bind_value(st, i + 1, keys[i]);
    TRY(vecindex_sql_run(t, SQL_PART_ADD));
    *part = sqlite3_last_insert_rowid(t->db);
    return TACIT_OK;
}

/* ---- making, connecting, dropping -----------------------------------------
 */

void vecindex_module_release(void *module)
{
    struct vecindex_module *m = module;
    if (--m->users == 0) free(m);
}

static void table_free(struct vecindex_table *t)
{
    struct vecindex_table **at = &t->module->first;
    while (*at && *at != t) at = &(*at)->next;
    if (*at) *at = t->next;
    vecindex_module_release(t->module);
    ivf_close(t->ivf);
    vecindex_sql_finalize(t);
    sqlite3_free(t->schema);
    sqlite3_free(t->name);
    sqlite3_free(t->base.zErrMsg);
    free(t->vector);
    free(t->bytes);
    free(t->scan.notes);
    free(t);
}

/* What SQLite is to know of the columns. */
static char *declaration(const struct vecindex_table *t)
{
    static const char *const types[] = {"INTEGER", "REAL", "TEXT"};
    sqlite3_str *s = sqlite3_str_new(t->db);
    sqlite3_str_appendall(s, "CREATE TABLE x(");
    for (int i = 0; i < t->args.n_columns; i++) {
        const struct vecindex_column *c = &t->args.column[i];
        const char *type = c->kind == VECINDEX_VECTOR ? "BLOB"
                           : c->kind == VECINDEX_AUX  ? c->declared
                                                      : types[c->type];
        sqlite3_str_appendf(s, "\"%w\" %s, ", c->name, type);
    }
    sqlite3_str_appendf(s,
                        "\"%w\" HIDDEN, distance REAL HIDDEN, k INTEGER HIDDEN,"
                        " recall REAL HIDDEN, probes INTEGER HIDDEN,"
                        " exact INTEGER HIDDEN)",
                        t->name);
    return sqlite3_str_finish(s);
}

static enum tacit_err declare(struct vecindex_table *t)
{
    char *text = declaration(t);
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    int rc = sqlite3_declare_vtab(t->db, text);
    sqlite3_free(text);
    if (rc) return vecindex_sql_fail(t, rc);
    sqlite3_vtab_config(t->db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
    sqlite3_vtab_config(t->db, SQLITE_VTAB_INNOCUOUS);
    return TACIT_OK;
}

/* argv: module, schema, table, then the arguments. */
static enum tacit_err table_new(struct vecindex_module *m, int argc,
                                const char *const *argv,
                                struct vecindex_table **out)
{
    struct vecindex_table *t = calloc(1, sizeof *t);
    if (!t) return fail(TACIT_NOMEM, "out of memory");
    t->module = m;
    m->users++;
    t->db = m->db;
    t->schema = sqlite3_mprintf("%s", argv[1]);
    t->name = sqlite3_mprintf("%s", argv[2]);
    vecindex_store_init(t);
    enum tacit_err err =
        t->schema && t->name
            ? vecindex_args_parse(argv[2], argc - 3, argv + 3, &t->args)
            : fail(TACIT_NOMEM, "out of memory");
    if (!err) {
        t->vector = malloc(2 * t->args.dim * sizeof *t->vector);
        if (!t->vector) err = fail(TACIT_NOMEM, "out of memory");
    }
    if (!err) err = declare(t);
    if (err) {
        table_free(t);
        return err;
    }
    t->next = m->first;
    m->first = t;
    *out = t;
    return TACIT_OK;
}

static int connect_table(sqlite3 *db, void *aux, int argc,
                         const char *const *argv, sqlite3_vtab **out,
                         char **message)
{
    struct vecindex_table *t;
    (void)db;
    enum tacit_err err = table_new(aux, argc, argv, &t);
    if (err) return end_without(err, message);
    *out = &t->base;
    return SQLITE_OK;
}

static int create_table(sqlite3 *db, void *aux, int argc,
                        const char *const *argv, sqlite3_vtab **out,
                        char **message)
{
    sqlite3_vtab *made;
    int rc = connect_table(db, aux, argc, argv, &made, message);
    if (rc != SQLITE_OK) return rc;
    struct vecindex_table *t = (struct vecindex_table *)made;
    enum tacit_err err = vecindex_sql_create(t, VECINDEX_NEW);
    if (!err) err = vecindex_settle(t);
    vecindex_sql_reset_all(t);
    if (err) {
        table_free(t);
        return end_without(err, message);
    }
    *out = made;
    return SQLITE_OK;
}

static int disconnect(sqlite3_vtab *vtab)
{
    table_free((struct vecindex_table *)vtab);
    return SQLITE_OK;
}

static int destroy(sqlite3_vtab *vtab)
{
    struct vecindex_table *t = (struct vecindex_table *)vtab;
    vecindex_sql_finalize(t);
    enum tacit_err err = vecindex_sql_drop(t);
    if (err) return vecindex_end(t, err);
    table_free(t);
    return SQLITE_OK;
}

static int rename_table(sqlite3_vtab *vtab, const char *name)
{
    struct vecindex_table *t = (struct vecindex_table *)vtab;
    if (vecindex_args_has_name(&t->args, name))
        return vecindex_end(t, fail(TACIT_FORMAT, "%s: a column is called %s",
                                    t->name, name));
    if (strlen(name) >= VECINDEX_NAME_MAX)
        return vecindex_end(t, fail(TACIT_LIMIT,
                                    "%s: a table's name has at most %d bytes",
                                    t->name, VECINDEX_NAME_MAX - 1));
    char *copy = sqlite3_mprintf("%s", name);
    if (!copy) return SQLITE_NOMEM;
    enum tacit_err err = vecindex_held_write(t);
    vecindex_sql_finalize(t);
    if (!err) err = vecindex_sql_rename(t, name);
    if (err) {
        sqlite3_free(copy);
        return vecindex_end(t, err);
    }
    sqlite3_free(t->name);
    t->name = copy;
    return SQLITE_OK;
}

static int is_shadow_name(const char *suffix)
{
    return vecindex_sql_is_shadow(suffix);
}

/* ---- transactions ---------------------------------------------------------
 */

/* SQLite also rolls back inside a statement or blob of ours: to prepare it anew
 * behind a change of the schema, when the disk is full, when it is interrupted.
 * What is running then must neither be reset nor closed, nor lose the lists
 * that it works on. */
static void forget(struct vecindex_table *t)
{
    t->is_fresh = false;
    t->scan.made++;
    t->is_outdated = t->is_inside;
    if (t->is_inside) return;
    vecindex_sql_reset_all(t);
    if (t->ivf) ivf_forget(t->ivf);
}

static int begin(sqlite3_vtab *vtab)
{
    struct vecindex_table *t = (struct vecindex_table *)vtab;
    t->is_fresh = false;
    t->savepoints = 0;
    t->torn = 0;
    return SQLITE_OK;
}

static int sync_table(sqlite3_vtab *vtab)
{
    struct vecindex_table *t = (struct vecindex_table *)vtab;
    if (!t->torn) return vecindex_end(t, vecindex_held_write(t));
    return vecindex_end(t, fail_as(E_INDEX_DAMAGED,
                                   "%s: a change broke off midway; it cannot "
                                   "be committed",
                                   t->name));
}

static int commit(sqlite3_vtab *vtab)
{
    ((struct vecindex_table *)vtab)->is_fresh = false;
    return SQLITE_OK;
}

static int rollback(sqlite3_vtab *vtab)
{
    struct vecindex_table *t = (struct vecindex_table *)vtab;
    t->torn = 0;
    forget(t);
    return SQLITE_OK;
}

/* What is undone is what the table has been given since. */
static int savepoint(sqlite3_vtab *vtab, int n)
{
    struct vecindex_table *t = (struct vecindex_table *)vtab;
    /* one of our own statements: when it is undone, so is the change */
    bool was_inside = t->is_inside;
    enum tacit_err err = was_inside ? TACIT_OK : vecindex_held_write(t);
    t->savepoints = n + 1;
    return was_inside ? SQLITE_OK : vecindex_end(t, err);
}

static int release(sqlite3_vtab *vtab, int n)
{
    struct vecindex_table *t = (struct vecindex_table *)vtab;
    t->savepoints = n;
    if (t->torn > n + 1) t->torn = n + 1;
    return SQLITE_OK;
}

static int rollback_to(sqlite3_vtab *vtab, int n)
{
    struct vecindex_table *t = (struct vecindex_table *)vtab;
    t->savepoints = n + 1;
    if (t->torn > n + 1) t->torn = 0;
    forget(t);
    return SQLITE_OK;
}

/* ---- the module -----------------------------------------------------------
 */

/* SQLite reads one function more of a module of version 4 than headers before
 * 3.44 know: it asks it for PRAGMA integrity_check. An older SQLite does not
 * look there. */
static const struct {
    sqlite3_module known;
    int (*integrity)(sqlite3_vtab *, const char *, const char *, int, char **);
} module = {
    .known =
        {
            .iVersion = 4,
            .xCreate = create_table,
            .xConnect = connect_table,
            .xBestIndex = vecindex_plan,
            .xDisconnect = disconnect,
            .xDestroy = destroy,
            .xOpen = vecindex_open,
            .xClose = vecindex_close,
            .xFilter = vecindex_filter,
            .xNext = vecindex_next,
            .xEof = vecindex_eof,
            .xColumn = vecindex_column,
            .xRowid = vecindex_rowid,
            .xUpdate = vecindex_update,
            .xBegin = begin,
            .xSync = sync_table,
            .xCommit = commit,
            .xRollback = rollback,
            .xRename = rename_table,
            .xSavepoint = savepoint,
            .xRelease = release,
            .xRollbackTo = rollback_to,
            .xShadowName = is_shadow_name,
#if SQLITE_VERSION_NUMBER >= 3044000
            .xIntegrity = vecindex_integrity,
#endif
        },
    .integrity = vecindex_integrity,
};

static bool is_registered(sqlite3 *db)
{
    sqlite3_stmt *st = NULL;
    int rc =
        sqlite3_prepare_v2(db, "SELECT tacit_vec_version()", -1, &st, NULL);
    sqlite3_finalize(st);
    return rc == SQLITE_OK;
}

enum tacit_err vecindex_register(sqlite3 *db)
{
    if (sqlite3_libversion_number() < VECINDEX_SQLITE_MIN)
        return fail(TACIT_UNSUPPORTED,
                    "tacit_vec needs SQLite 3.38 or newer, this is %s",
                    sqlite3_libversion());
    if (is_registered(db)) return TACIT_OK;
    struct vecindex_module *m = calloc(1, sizeof *m);
    if (!m) return fail(TACIT_NOMEM, "out of memory");
    m->db = db;
    m->users = 2; /* the module, and this function */
    /* SQLite releases its part also when this fails. */
    int rc = sqlite3_create_module_v2(db, "tacit_vec", &module.known, m,
                                      vecindex_module_release);
    if (!rc) rc = vecindex_functions(m);
    vecindex_module_release(m);
    if (!rc) return TACIT_OK;
    return fail(rc == SQLITE_NOMEM ? TACIT_NOMEM : TACIT_IO, "tacit_vec: %s",
                sqlite3_errmsg(db));
}
