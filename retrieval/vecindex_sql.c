#include "retrieval/vecindex_table.h"

#include <string.h>

/* Every shadow table, its columns, and when it is there. */
enum part { ALWAYS, WITH_KEYS, WITH_AUX };
static const struct {
    const char *suffix, *columns;
    enum part when;
} shadows[] = {
    {"info", "id INTEGER PRIMARY KEY, value BLOB NOT NULL", ALWAYS},
    {"list",
     "id INTEGER PRIMARY KEY, part INTEGER NOT NULL, head BLOB NOT NULL,"
     " UNIQUE(part, id)",
     ALWAYS},
    {"seg", "id INTEGER PRIMARY KEY, data BLOB NOT NULL", ALWAYS},
    {"place",
     "id INTEGER PRIMARY KEY, list INTEGER NOT NULL, second INTEGER NOT NULL",
     ALWAYS},
    {"part", NULL, WITH_KEYS},
    {"aux", NULL, WITH_AUX},
};
enum { N_SHADOWS = sizeof shadows / sizeof shadows[0] };

/* Each with the suffix of its table, which stands for the %. */
static const struct {
    const char *suffix, *text;
} statements[SQL_N] = {
    [SQL_META_READ] = {"info", "SELECT value FROM % WHERE id = 1"},
    [SQL_META_WRITE] = {"info", "REPLACE INTO % VALUES (1, ?1)"},
    [SQL_HEADS] = {"list", "SELECT id, head FROM % ORDER BY part, id"},
    [SQL_HEADS_OF] = {"list",
                      "SELECT id, head FROM % WHERE part = ?1 ORDER BY id"},
    [SQL_HEADS_COUNT] = {"list", "SELECT count(*) FROM %"},
    [SQL_HEAD_READ] = {"list", "SELECT head FROM % WHERE id = ?1"},
    [SQL_HEAD_CHANGE] = {"list", "UPDATE % SET head = ?3"
                                 " WHERE id = ?1 AND part = ?2"},
    [SQL_HEAD_WRITE] = {"list", "INSERT INTO % VALUES (?1, ?2, ?3)"},
    [SQL_HEAD_DELETE] = {"list", "DELETE FROM % WHERE id = ?1"},
    [SQL_SEGS] = {"seg", "SELECT id, data FROM % WHERE id BETWEEN ?1 AND ?2"
                         " ORDER BY id"},
    [SQL_SEG_KEYS] = {"seg", "SELECT id FROM % WHERE id BETWEEN ?1 AND ?2"
                             " ORDER BY id"},
    [SQL_LIST_LAST] = {"seg", "SELECT max(id) FROM %"},
    [SQL_SEG_FIRST] = {"seg", "SELECT min(id) FROM %"},
    /* Of most segments of rows, as some may be damaged; of none NULL. The
     * eighth byte has IVF_MIXED. */
    [SQL_ROWS_UNMIXED] = {"seg", "SELECT avg(substr(data, 8, 1) < x'80') > 0.5"
                                 " FROM % WHERE id >> 20 & 1"},
    [SQL_SEG_READ] = {"seg", "SELECT data FROM % WHERE id = ?1"},
    [SQL_SEG_LAST] = {"seg", "SELECT id FROM % WHERE id BETWEEN ?1 AND ?2"
                             " ORDER BY id DESC LIMIT 1"},
    [SQL_SEG_WRITE] = {"seg", "REPLACE INTO % VALUES (?1, ?2)"},
    [SQL_SEG_DELETE] = {"seg", "DELETE FROM % WHERE id = ?1"},
    [SQL_PLACE_READ] = {"place", "SELECT list, second FROM % WHERE id = ?1"},
    [SQL_PLACE_WRITE] = {"place", "REPLACE INTO % VALUES (?1, ?2, ?3)"},
    [SQL_PLACE_DELETE] = {"place", "DELETE FROM % WHERE id = ?1"},
    [SQL_PLACES] = {"place", "SELECT id, list, second FROM % ORDER BY id"},
    [SQL_PLACE_LAST] = {"place", "SELECT max(id) FROM %"},
    [SQL_PART_FIND] = {"part", NULL},
    [SQL_PART_ADD] = {"part", NULL},
    [SQL_PARTS] = {"part", "SELECT * FROM % ORDER BY id"},
    [SQL_AUX_READ] = {"aux", NULL},
    [SQL_AUX_WRITE] = {"aux", NULL},
    [SQL_AUX_DELETE] = {"aux", "DELETE FROM % WHERE id = ?1"},
};

int vecindex_sql_is_shadow(const char *suffix)
{
    for (int i = 0; i < N_SHADOWS; i++)
        if (sqlite3_stricmp(shadows[i].suffix, suffix) == 0) return 1;
    return 0;
}

static bool is_there(const struct vecindex_table *t, int shadow)
{
    const struct vecindex_args *a = &t->args;
    switch (shadows[shadow].when) {
    case WITH_KEYS: return a->n_keys > 0;
    case WITH_AUX: return a->n_keys + a->n_filters + a->n_aux > 0;
    default: return true;
    }
}

enum tacit_err vecindex_sql_fail(struct vecindex_table *t, int rc)
{
    if (!t->rc) t->rc = rc;
    if ((rc & 0xff) == SQLITE_NOMEM) return fail(TACIT_NOMEM, "out of memory");
    return fail(TACIT_IO, "%s: %s", t->name, sqlite3_errmsg(t->db));
}

/* Run text that sqlite3_mprintf() made; it is freed. */
static enum tacit_err run_made(struct vecindex_table *t, char *text)
{
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    int rc = sqlite3_exec(t->db, text, NULL, NULL, NULL);
    sqlite3_free(text);
    return rc ? vecindex_sql_fail(t, rc) : TACIT_OK;
}

/* "p0, p1", "?1, ?2" and the like: n of them from a prefix and a number. */
static void put_list(sqlite3_str *s, const char *prefix, int from, int n)
{
    for (int i = 0; i < n; i++)
        sqlite3_str_appendf(s, ", %s%d", prefix, from + i);
}

static char *made_columns(const struct vecindex_table *t, int shadow)
{
    sqlite3_str *s = sqlite3_str_new(t->db);
    if (shadows[shadow].columns) {
        sqlite3_str_appendall(s, shadows[shadow].columns);
        return sqlite3_str_finish(s);
    }
    sqlite3_str_appendall(s, "id INTEGER PRIMARY KEY");
    put_list(s, "p", 0, t->args.n_keys);
    if (shadows[shadow].when == WITH_KEYS) {
        sqlite3_str_appendall(s, ", UNIQUE(p0");
        put_list(s, "p", 1, t->args.n_keys - 1);
        sqlite3_str_appendall(s, ")");
    } else {
        put_list(s, "f", 0, t->args.n_filters);
        put_list(s, "a", 0, t->args.n_aux);
    }
    return sqlite3_str_finish(s);
}

enum tacit_err vecindex_sql_create(struct vecindex_table *t,
                                   enum vecindex_create how)
{
    for (int i = 0; i < N_SHADOWS; i++) {
        if (!is_there(t, i)) continue;
        char *columns = made_columns(t, i);
        if (!columns) return fail(TACIT_NOMEM, "out of memory");
        char *text =
            sqlite3_mprintf("CREATE TABLE %s\"%w\".\"%w_%s\"(%s)",
                            how == VECINDEX_NEW ? "" : "IF NOT EXISTS ",
                            t->schema, t->name, shadows[i].suffix, columns);
        sqlite3_free(columns);
        TRY(run_made(t, text));
    }
    return TACIT_OK;
}

enum tacit_err vecindex_sql_drop(struct vecindex_table *t)
{
    for (int i = 0; i < N_SHADOWS; i++)
        if (is_there(t, i))
            TRY(run_made(
                t, sqlite3_mprintf("DROP TABLE IF EXISTS \"%w\".\"%w_%s\"",
                                   t->schema, t->name, shadows[i].suffix)));
    return TACIT_OK;
}

enum tacit_err vecindex_sql_rename(struct vecindex_table *t, const char *name)
{
    for (int i = 0; i < N_SHADOWS; i++)
        if (is_there(t, i))
            TRY(run_made(t,
                         sqlite3_mprintf("ALTER TABLE \"%w\".\"%w_%s\""
                                         " RENAME TO \"%w_%s\"",
                                         t->schema, t->name, shadows[i].suffix,
                                         name, shadows[i].suffix)));
    return TACIT_OK;
}

enum tacit_err vecindex_sql_clear(struct vecindex_table *t)
{
    static const char *const made[] = {"info", "list", "place", "part"};
    int n = t->args.n_keys ? 4 : 3;
    for (int i = 0; i < n; i++)
        TRY(run_made(t, sqlite3_mprintf("DELETE FROM \"%w\".\"%w_%s\"",
                                        t->schema, t->name, made[i])));
    /* A segment begins with the number of its list, as its key does; the first
     * list is 1, its entries 2. */
    return run_made(
        t, sqlite3_mprintf("DELETE FROM \"%w\".\"%w_seg\" WHERE"
                           " id < %d OR typeof(data) <> 'blob' OR"
                           " hex(substr(data, 1, 4)) <> printf("
                           "'%%02X%%02X%%02X%%02X', id >> 20 & 255,"
                           " id >> 28 & 255, id >> 36 & 255, id >> 44)",
                           t->schema, t->name, VECINDEX_SEG_MIN));
}

/* ---- statements -----------------------------------------------------------
 */

/* Those whose columns depend on the table. */
static void put_statement(const struct vecindex_table *t,
                          enum vecindex_stmt which, sqlite3_str *s)
{
    const struct vecindex_args *a = &t->args;
    int n = 1 + a->n_keys;
    if (which == SQL_PART_FIND) {
        sqlite3_str_appendall(s, "SELECT id FROM % WHERE p0 IS ?1");
        for (int i = 1; i < a->n_keys; i++)
            sqlite3_str_appendf(s, " AND p%d IS ?%d", i, i + 1);
    } else if (which == SQL_PART_ADD) {
        sqlite3_str_appendall(s, "INSERT INTO % VALUES (NULL");
        put_list(s, "?", 1, a->n_keys);
        sqlite3_str_appendall(s, ")");
    } else if (which == SQL_AUX_READ) {
        sqlite3_str_appendall(s, "SELECT id");
        put_list(s, "p", 0, a->n_keys);
        put_list(s, "f", 0, a->n_filters);
        put_list(s, "a", 0, a->n_aux);
        sqlite3_str_appendall(s, " FROM % WHERE id = ?1");
    } else if (which == SQL_AUX_WRITE) {
        sqlite3_str_appendall(s, "REPLACE INTO % VALUES (?1");
        put_list(s, "?", 2, n - 1 + a->n_filters + a->n_aux);
        sqlite3_str_appendall(s, ")");
    } else {
        sqlite3_str_appendall(s, statements[which].text);
    }
}

/* The text of a statement with its table's name in place of %. */
static char *made_statement(const struct vecindex_table *t,
                            enum vecindex_stmt which)
{
    sqlite3_str *s = sqlite3_str_new(t->db);
    put_statement(t, which, s);
    char *text = sqlite3_str_finish(s);
    if (!text) return NULL;
    int head = (int)strcspn(text, "%");
    char *made =
        sqlite3_mprintf("%.*s\"%w\".\"%w_%s\"%s", head, text, t->schema,
                        t->name, statements[which].suffix, text + head + 1);
    sqlite3_free(text);
    return made;
}

enum tacit_err vecindex_sql_get(struct vecindex_table *t,
                                enum vecindex_stmt which, sqlite3_stmt **out)
{
    vecindex_sql_reset(t, which);
    if (!t->stmt[which]) {
        char *text = made_statement(t, which);
        if (!text) return fail(TACIT_NOMEM, "out of memory");
        int rc = sqlite3_prepare_v3(t->db, text, -1,
                                    SQLITE_PREPARE_PERSISTENT |
                                        SQLITE_PREPARE_NO_VTAB,
                                    &t->stmt[which], NULL);
        sqlite3_free(text);
        if (rc) return vecindex_sql_fail(t, rc);
    }
    *out = t->stmt[which];
    return TACIT_OK;
}

enum tacit_err vecindex_sql_step(struct vecindex_table *t,
                                 enum vecindex_stmt which, bool *has_row)
{
    t->active |= UINT32_C(1) << which;
    t->is_inside = true;
    int rc = sqlite3_step(t->stmt[which]);
    t->is_inside = false;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return vecindex_sql_fail(t, rc);
    *has_row = rc == SQLITE_ROW;
    return TACIT_OK;
}

enum tacit_err vecindex_sql_run(struct vecindex_table *t,
                                enum vecindex_stmt which)
{
    bool has_row;
    enum tacit_err err = vecindex_sql_step(t, which, &has_row);
    vecindex_sql_reset(t, which);
    return err;
}

/* What was bound is borrowed, so it does not outlive the statement's run. */
void vecindex_sql_reset(struct vecindex_table *t, enum vecindex_stmt which)
{
    if (!(t->active >> which & 1)) return;
    t->active &= ~(UINT32_C(1) << which);
    sqlite3_reset(t->stmt[which]);
    sqlite3_clear_bindings(t->stmt[which]);
}

void vecindex_sql_reset_all(struct vecindex_table *t)
{
    vecindex_blob_rest(t);
    if (!t->active) return;
    for (int i = 0; i < SQL_N; i++)
        vecindex_sql_reset(t, (enum vecindex_stmt)i);
}

void vecindex_sql_finalize(struct vecindex_table *t)
{
    vecindex_blob_rest(t);
    for (int i = 0; i < SQL_N; i++) {
        sqlite3_finalize(t->stmt[i]);
        t->stmt[i] = NULL;
    }
    t->active = 0;
}

/* A leaf page keeps a row to itself, whole, when its record is at most 35 bytes
 * less than the page's usable part; 5 are the record's own header. */
enum { PAGE_OVERHEAD = 35 + 5 };

enum tacit_err vecindex_sql_room(struct vecindex_table *t, uint32_t *bytes)
{
    sqlite3_stmt *st = NULL;
    int reserved = -1;
    char *text = sqlite3_mprintf("PRAGMA \"%w\".page_size", t->schema);
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    int rc = sqlite3_prepare_v2(t->db, text, -1, &st, NULL);
    sqlite3_free(text);
    if (!rc) rc = sqlite3_step(st);
    int page = rc == SQLITE_ROW ? sqlite3_column_int(st, 0) : 4096;
    sqlite3_finalize(st);
    if (rc != SQLITE_ROW) return vecindex_sql_fail(t, rc);
    sqlite3_file_control(t->db, t->schema, SQLITE_FCNTL_RESERVE_BYTES,
                         &reserved);
    if (reserved < 0 || reserved > 255) reserved = 0;
    *bytes = (uint32_t)(page - reserved - PAGE_OVERHEAD);
    if (*bytes < IVF_SEGMENT_BYTES_MIN) *bytes = IVF_SEGMENT_BYTES_MIN;
    return TACIT_OK;
}
