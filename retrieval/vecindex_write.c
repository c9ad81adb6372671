/*
 * INSERT, UPDATE, DELETE. All that can be wrong with a value is found before
 * the first change. What fails behind it (no memory, a damaged index) leaves
 * half a change: SQLite takes it back where it has a savepoint for the
 * statement; else the table is torn until the caller rolls back.
 */
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/vecindex_table.h"

/* A row as it shall be. */
struct change {
    struct vecindex_table *t;
    sqlite3_value **columns; /* [n_columns + HIDDEN_N] */
    int64_t words[VECINDEX_FILTERS_MAX];
    sqlite3_value *keys[VECINDEX_KEYS_MAX];
};

static enum tacit_err check_key(const struct vecindex_column *c,
                                sqlite3_value *v)
{
    int64_t word;
    if (sqlite3_value_type(v) == SQLITE_NULL)
        return fail(TACIT_FORMAT, "%s: a partition key is not NULL", c->name);
    return vecindex_value_word(c, v, &word);
}

/* Check all but the vector. */
static enum tacit_err read_columns(struct change *ch)
{
    const struct vecindex_args *a = &ch->t->args;
    for (int i = 0; i < a->n_columns; i++) {
        const struct vecindex_column *c = &a->column[i];
        if (c->kind == VECINDEX_FILTER) {
            TRY(vecindex_value_word(c, ch->columns[i], &ch->words[c->at]));
        } else if (c->kind == VECINDEX_KEY) {
            TRY(check_key(c, ch->columns[i]));
            ch->keys[c->at] = ch->columns[i];
        }
    }
    return TACIT_OK;
}

static bool has_aux(const struct vecindex_table *t)
{
    return t->args.n_keys + t->args.n_filters + t->args.n_aux > 0;
}

/* A number is kept as its column's type. */
static void bind_kept(sqlite3_stmt *st, int i, const struct vecindex_column *c,
                      sqlite3_value *v)
{
    if (c->type == VECINDEX_INT && sqlite3_value_type(v) == SQLITE_FLOAT)
        sqlite3_bind_int64(st, i, sqlite3_value_int64(v));
    else if (c->type == VECINDEX_REAL &&
             sqlite3_value_type(v) == SQLITE_INTEGER)
        sqlite3_bind_double(st, i, sqlite3_value_double(v));
    else
        sqlite3_bind_value(st, i, v);
}

static enum tacit_err write_aux(const struct change *ch, int64_t id)
{
    const struct vecindex_args *a = &ch->t->args;
    sqlite3_stmt *st;
    if (!has_aux(ch->t)) return TACIT_OK;
    TRY(vecindex_sql_get(ch->t, SQL_AUX_WRITE, &st));
    sqlite3_bind_int64(st, 1, id);
    for (int i = 0; i < a->n_columns; i++) {
        const struct vecindex_column *c = &a->column[i];
        int at = 2 + c->at;
        if (c->kind == VECINDEX_VECTOR) continue;
        if (c->kind != VECINDEX_KEY) at += a->n_keys;
        if (c->kind == VECINDEX_AUX) at += a->n_filters;
        bind_kept(st, at, c, ch->columns[i]);
    }
    return vecindex_sql_run(ch->t, SQL_AUX_WRITE);
}

static enum tacit_err delete_aux(struct vecindex_table *t, int64_t id)
{
    sqlite3_stmt *st;
    if (!has_aux(t)) return TACIT_OK;
    TRY(vecindex_sql_get(t, SQL_AUX_DELETE, &st));
    sqlite3_bind_int64(st, 1, id);
    return vecindex_sql_run(t, SQL_AUX_DELETE);
}

static enum tacit_err delete_row(struct vecindex_table *t, int64_t id)
{
    enum tacit_err err = ivf_delete(t->ivf, id);
    if (err == TACIT_NOTFOUND) {
        err_clear();
        err = fail_as(E_INDEX_DAMAGED, "%s: row %lld is not in the index",
                      t->name, (long long)id);
    }
    if (!err) err = delete_aux(t, id);
    return err;
}

static enum tacit_err insert_row(const struct change *ch, int64_t id,
                                 const float *v)
{
    struct change copy = *ch;
    int64_t part;
    TRY(vecindex_partition(ch->t, copy.keys, VECINDEX_MAKE, &part));
    TRY(ivf_insert_new(ch->t->ivf, part, id, v, ch->words));
    return write_aux(ch, id);
}

/* ---- rowids ---------------------------------------------------------------
 */

static enum tacit_err next_id(struct vecindex_table *t, int64_t *id)
{
    sqlite3_stmt *st;
    bool has;
    TRY(vecindex_sql_get(t, SQL_PLACE_LAST, &st));
    TRY(vecindex_sql_step(t, SQL_PLACE_LAST, &has));
    int64_t last = has ? sqlite3_column_int64(st, 0) : 0;
    vecindex_sql_reset(t, SQL_PLACE_LAST);
    if (last == INT64_MAX)
        return fail(TACIT_LIMIT, "%s: no rowid is left above the largest",
                    t->name);
    *id = last < 0 ? 1 : last + 1;
    return TACIT_OK;
}

/* The id that a row shall have. *replaces: one that must go for it. Another
 * row under it is a conflict, which the statement settles. */
static enum tacit_err choose_id(struct vecindex_table *t, sqlite3_value *v,
                                int64_t *id, bool *replaces)
{
    *replaces = false;
    if (sqlite3_value_type(v) == SQLITE_NULL) return next_id(t, id);
    if (sqlite3_value_numeric_type(v) != SQLITE_INTEGER) {
        t->rc = SQLITE_MISMATCH;
        return fail(TACIT_FORMAT, "%s: a rowid is an integer", t->name);
    }
    *id = sqlite3_value_int64(v);
    TRY(vecindex_has(t, *id, replaces));
    if (!*replaces || sqlite3_vtab_on_conflict(t->db) == SQLITE_REPLACE)
        return TACIT_OK;
    t->rc = SQLITE_CONSTRAINT;
    return fail(TACIT_STATE, "UNIQUE constraint failed: %s.rowid", t->name);
}

/* ---- the three changes ----------------------------------------------------
 */

/* Changes begin here … */
enum tacit_err vecindex_tear(struct vecindex_table *t)
{
    if (t->torn)
        return fail(TACIT_STATE,
                    "%s: an earlier change broke off midway: roll back first",
                    t->name);
    t->torn = 1 + t->savepoints;
    return TACIT_OK;
}

/* … and are whole here. */
static enum tacit_err mend(struct vecindex_table *t, enum tacit_err err)
{
    if (!err)
        t->torn = 0;
    else if (t->ivf)
        ivf_forget(t->ivf);
    return err;
}

enum tacit_err vecindex_held_write(struct vecindex_table *t)
{
    if (!t->ivf || !ivf_is_held(t->ivf)) return TACIT_OK;
    sqlite3_int64 last = sqlite3_last_insert_rowid(t->db);
    TRY(vecindex_tear(t));
    enum tacit_err err = mend(t, ivf_held_write(t->ivf));
    vecindex_sql_reset_all(t); /* a search opens its blob to read alone */
    sqlite3_set_last_insert_rowid(t->db, last); /* of the caller's own row */
    return err;
}

static enum tacit_err ready_to_write(struct vecindex_table *t)
{
    TRY(vecindex_ready(t));
    t->is_fresh = true;
    return TACIT_OK;
}

static enum tacit_err delete_one(struct vecindex_table *t, int64_t id)
{
    TRY(ready_to_write(t));
    TRY(vecindex_tear(t));
    return mend(t, delete_row(t, id));
}

static enum tacit_err insert_one(struct vecindex_table *t, sqlite3_value *rowid,
                                 sqlite3_value **columns, int64_t *id)
{
    struct change ch = {.t = t, .columns = columns};
    bool replaces;
    TRY(vecindex_value_vector(t, columns[t->args.vector], t->vector));
    TRY(read_columns(&ch));
    t->adds = true;
    enum tacit_err err = ready_to_write(t);
    t->adds = false;
    TRY(err);
    TRY(ivf_check(t->ivf, t->vector));
    TRY(choose_id(t, rowid, id, &replaces));
    if (replaces) TRY(vecindex_held_write(t));
    TRY(vecindex_tear(t));
    if (replaces) err = delete_row(t, *id);
    ivf_hold(t->ivf, IVF_HELD);
    if (!err) err = insert_row(&ch, *id, t->vector);
    ivf_hold(t->ivf, IVF_AT_ONCE);
    return mend(t, err);
}

enum tacit_err vecindex_add(struct vecindex_table *t, int64_t id,
                            const float *v, sqlite3_value **columns)
{
    struct change ch = {.t = t, .columns = columns};
    bool is;
    TRY(read_columns(&ch));
    TRY(ivf_check(t->ivf, v));
    TRY(vecindex_has(t, id, &is));
    if (is)
        return fail(TACIT_STATE, "%s: there is a row %lld", t->name,
                    (long long)id);
    return insert_row(&ch, id, v);
}

/* Whether the keys of row id are these. */
static enum tacit_err is_same_part(const struct change *ch, int64_t id,
                                   bool *is)
{
    struct vecindex_table *t = ch->t;
    sqlite3_value *old[VECINDEX_KEYS_MAX] = {NULL};
    struct change copy = *ch;
    sqlite3_stmt *st;
    int64_t before = 0, now = 0;
    *is = true;
    if (!t->args.n_keys) return TACIT_OK;
    TRY(vecindex_sql_get(t, SQL_AUX_READ, &st));
    sqlite3_bind_int64(st, 1, id);
    TRY(vecindex_sql_step(t, SQL_AUX_READ, is));
    for (int i = 0; i < t->args.n_keys && *is; i++)
        old[i] = sqlite3_value_dup(sqlite3_column_value(st, 1 + i));
    vecindex_sql_reset(t, SQL_AUX_READ);
    enum tacit_err err =
        *is ? vecindex_partition(t, old, VECINDEX_FIND, &before) : TACIT_OK;
    if (!err) err = vecindex_partition(t, copy.keys, VECINDEX_FIND, &now);
    *is = before && before == now;
    for (int i = 0; i < t->args.n_keys; i++) sqlite3_value_free(old[i]);
    return err;
}

enum stays { STAYS, MOVES };

/* Change row `from` into what ch says, under id `to`; it moves to other lists
 * when its vector or its partition is new. */
static enum tacit_err update_row(const struct change *ch, int64_t from,
                                 int64_t to, enum stays stays)
{
    struct vecindex_table *t = ch->t;
    struct change copy = *ch;
    int64_t part;
    if (stays == STAYS && from == to) {
        if (t->args.n_filters) TRY(ivf_set_words(t->ivf, to, ch->words));
        return write_aux(ch, to);
    }
    if (from != to) {
        TRY(delete_row(t, from));
        return insert_row(ch, to, t->vector);
    }
    TRY(vecindex_partition(t, copy.keys, VECINDEX_MAKE, &part));
    TRY(ivf_update(t->ivf, part, to, t->vector, ch->words));
    return write_aux(ch, to);
}

/* UPDATE … FROM hands over every column as a new one, those of a search too:
 * which of them the statement names is not told. */
static bool is_update_from(sqlite3_value **hidden)
{
    for (int i = 0; i < HIDDEN_N; i++)
        if (sqlite3_value_nochange(hidden[i])) return false;
    return true;
}

/* Whether t->vector is another than that of row id. */
static enum tacit_err is_other_vector(struct vecindex_table *t, int64_t id,
                                      bool *is)
{
    float *kept = t->vector + t->args.dim;
    TRY(ivf_vector(t->ivf, id, kept));
    *is = memcmp(t->vector, kept, t->args.dim * sizeof *kept) != 0;
    return TACIT_OK;
}

static enum tacit_err update_one(struct vecindex_table *t, int64_t from,
                                 sqlite3_value *rowid, sqlite3_value **columns)
{
    struct change ch = {.t = t, .columns = columns};
    bool moves = !sqlite3_value_nochange(columns[t->args.vector]);
    bool is_same, replaces = false;
    int64_t to = from;
    if (moves)
        TRY(vecindex_value_vector(t, columns[t->args.vector], t->vector));
    TRY(read_columns(&ch));
    TRY(ready_to_write(t));
    /* Kept in bytes, a vector that is read and written again drifts. */
    if (is_update_from(columns + t->args.n_columns))
        TRY(is_other_vector(t, from, &moves));
    if (moves) TRY(ivf_check(t->ivf, t->vector));
    if (sqlite3_value_type(rowid) != SQLITE_INTEGER ||
        sqlite3_value_int64(rowid) != from)
        TRY(choose_id(t, rowid, &to, &replaces));
    TRY(is_same_part(&ch, from, &is_same));
    if (!moves && (!is_same || from != to))
        TRY(ivf_vector(t->ivf, from, t->vector));
    TRY(vecindex_tear(t));
    enum tacit_err err = replaces ? delete_row(t, to) : TACIT_OK;
    if (!err)
        err = update_row(&ch, from, to, moves || !is_same ? MOVES : STAYS);
    return mend(t, err);
}

/* ---- xUpdate --------------------------------------------------------------
 */

enum statement { IS_INSERT, IS_UPDATE };

/* Columns that only a search has are not written. */
static enum tacit_err check_hidden(const struct vecindex_table *t,
                                   sqlite3_value **hidden, enum statement what)
{
    int first = what == IS_UPDATE ? HIDDEN_COMMAND : HIDDEN_DISTANCE;
    if (what == IS_UPDATE && is_update_from(hidden)) return TACIT_OK;
    for (int i = first; i < HIDDEN_N; i++)
        if (what == IS_UPDATE ? !sqlite3_value_nochange(hidden[i])
                              : sqlite3_value_type(hidden[i]) != SQLITE_NULL)
            return fail(TACIT_FORMAT,
                        "%s: distance, k, recall, probes and exact belong to a "
                        "search; they are not stored",
                        t->name);
    return TACIT_OK;
}

static enum tacit_err run_command(struct vecindex_table *t, sqlite3_value *v)
{
    const char *text = (const char *)sqlite3_value_text(v);
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    enum tacit_err err = vecindex_command(t, text);
    t->is_fresh = false;
    return mend(t, err);
}

int vecindex_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                    sqlite3_int64 *rowid)
{
    struct vecindex_table *t = (struct vecindex_table *)vtab;
    sqlite3_int64 last = sqlite3_last_insert_rowid(t->db);
    enum tacit_err err = TACIT_OK;
    sqlite3_value **hidden = argv + 2 + t->args.n_columns;
    if (argc == 1) {
        err = delete_one(t, sqlite3_value_int64(argv[0]));
    } else if (sqlite3_value_type(argv[0]) != SQLITE_NULL) {
        err = check_hidden(t, hidden, IS_UPDATE);
        if (!err)
            err =
                update_one(t, sqlite3_value_int64(argv[0]), argv[1], argv + 2);
    } else if (sqlite3_value_type(hidden[HIDDEN_COMMAND]) != SQLITE_NULL) {
        err = run_command(t, hidden[HIDDEN_COMMAND]);
        *rowid = last;
    } else {
        int64_t id = 0;
        err = check_hidden(t, hidden, IS_INSERT);
        if (!err) err = insert_one(t, argv[1], argv + 2, &id);
        if (!err) *rowid = id;
    }
    /* Writing beneath it has its own rowids, which are nobody's. */
    sqlite3_set_last_insert_rowid(t->db, last);
    return vecindex_end(t, err);
}
