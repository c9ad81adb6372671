/*
 * vecindex_table: what the parts of vecindex share: one connected table, its
 * statements, and the conversions between SQL values and what ivf keeps.
 */
#ifndef TACIT_RETRIEVAL_VECINDEX_TABLE_H
#define TACIT_RETRIEVAL_VECINDEX_TABLE_H

#include <stdbool.h>

#include "retrieval/ivf.h"
#include "retrieval/vecindex.h"
#include "retrieval/vecindex_args.h"
#include "retrieval/vecindex_sqlite.h"

/* One prepared statement each; the text is in vecindex_sql.c. */
enum vecindex_stmt {
    SQL_META_READ,
    SQL_META_WRITE,
    SQL_HEADS,
    SQL_HEADS_OF,
    SQL_HEADS_COUNT,
    SQL_HEAD_READ,
    SQL_HEAD_CHANGE,
    SQL_HEAD_WRITE,
    SQL_HEAD_DELETE,
    SQL_SEGS,
    SQL_SEG_KEYS,
    SQL_LIST_LAST,
    SQL_SEG_FIRST,
    SQL_ROWS_UNMIXED,
    SQL_SEG_READ,
    SQL_SEG_LAST,
    SQL_SEG_WRITE,
    SQL_SEG_DELETE,
    SQL_PLACE_READ,
    SQL_PLACE_WRITE,
    SQL_PLACE_DELETE,
    SQL_PLACES,
    SQL_PLACE_LAST,
    SQL_PART_FIND,
    SQL_PART_ADD,
    SQL_PARTS,
    SQL_AUX_READ,
    SQL_AUX_WRITE,
    SQL_AUX_DELETE,
    SQL_N
};

/* The connection's tables, so that functions find them by name. Owned by the
 * module, each function and each table together: SQLite lets go of a module
 * before the last of its tables. */
struct vecindex_module {
    int users;
    sqlite3 *db;
    struct vecindex_table *first;
    struct vecindex_watch watch; /* of vecindex_check(), _rebuild() */
};

/* Which segments a list has, so that a search goes to them directly. A note
 * holds while nothing has been written: by this table (made), by this
 * connection (changes), by another (version). */
struct vecindex_note {
    uint32_t list, made;
    uint16_t copies; /* bit per segment below IVF_SEG_FIRST */
    uint16_t firsts; /* those from it, without a gap */
};
enum { VECINDEX_NOTES = 1 << 14 };

/* Where a row was found last, so that a DELETE, which looks for it and then
 * takes it out, reads its place once. It holds as long as a note does. */
struct vecindex_spot {
    bool is_known;
    int64_t id;
    uint32_t lists[2];
    uint32_t made, version;
    sqlite3_int64 changes;
};

/* A search's walk of the segments of a list. */
struct vecindex_scan {
    bool is_on;    /* scan_begin() began the walk, not segs_begin() */
    bool is_noted; /* by its note; else by keys, which become one */
    struct vecindex_note note;   /* what is left of it, or known so far */
    uint16_t first;              /* the next of note.firsts */
    struct vecindex_note *notes; /* [VECINDEX_NOTES] by list, owned */
    bool is_checked;             /* changes and version, in this operation */
    uint32_t made, version;
    sqlite3_int64 changes;
};

struct vecindex_ahead; /* what vecindex_ahead.c knows of the file */

struct vecindex_table {
    sqlite3_vtab base;
    struct vecindex_module *module;
    struct vecindex_table *next;
    sqlite3 *db;
    char *schema, *name; /* owned */
    struct vecindex_args args;
    struct ivf_store store;
    struct ivf *ivf; /* NULL until it is needed */
    sqlite3_stmt *stmt[SQL_N];
    uint32_t active;  /* bit per statement: stepped and not reset */
    bool is_inside;   /* SQLite runs one of them, or blob */
    bool is_outdated; /* rolled back then: to be forgotten at the end */
    int rc;           /* SQLite's own code of a failure beneath, or 0 */
    bool walks_part;  /* heads_begin() was given a partition */
    uint64_t n_heads; /* as far as this connection knows: a hint */
    struct vecindex_scan scan;
    struct vecindex_spot spot;
    /* Segments as a search reads them: open until the operation ends. */
    sqlite3_blob *blob;
    int64_t blob_key;
    bool is_moved;  /* written beneath it: to be sought again */
    uint8_t *bytes; /* [room] what was read last of blob, owned */
    size_t room;
    bool is_fresh;  /* the cache was compared inside this write */
    int savepoints; /* open ones */
    bool adds;      /* an insertion begins: what is held may wait */
    int torn;       /* 0, or 1 + those open when a change broke off */
    float *vector;  /* [2, dim] scratch: given, and kept */
    struct vecindex_ahead *ahead; /* of one operation, owned; may be NULL */
};

/* ---- vecindex_sql.c -------------------------------------------------------
 */

/* CREATE the shadow tables: each must be new, or those that are missing. */
enum vecindex_create { VECINDEX_NEW, VECINDEX_MISSING };
TACIT_CHECKED enum tacit_err vecindex_sql_create(struct vecindex_table *t,
                                                 enum vecindex_create how);
TACIT_CHECKED enum tacit_err vecindex_sql_drop(struct vecindex_table *t);
TACIT_CHECKED enum tacit_err vecindex_sql_rename(struct vecindex_table *t,
                                                 const char *name);
/* Empty what is made from the vectors, and drop segments under a key that is
 * not theirs. */
TACIT_CHECKED enum tacit_err vecindex_sql_clear(struct vecindex_table *t);
int vecindex_sql_is_shadow(const char *suffix);
/* Statement `which`, prepared, reset and without bindings of its own. */
TACIT_CHECKED enum tacit_err vecindex_sql_get(struct vecindex_table *t,
                                              enum vecindex_stmt which,
                                              sqlite3_stmt **out);
/* Step to a row or the end. */
TACIT_CHECKED enum tacit_err vecindex_sql_step(struct vecindex_table *t,
                                               enum vecindex_stmt which,
                                               bool *has_row);
/* Step to the end of a statement without rows, and reset it. */
TACIT_CHECKED enum tacit_err vecindex_sql_run(struct vecindex_table *t,
                                              enum vecindex_stmt which);
void vecindex_sql_reset(struct vecindex_table *t, enum vecindex_stmt which);
/* Nothing stays active behind an operation. */
void vecindex_sql_reset_all(struct vecindex_table *t);
void vecindex_sql_finalize(struct vecindex_table *t);
/* Record SQLite's failure rc. */
enum tacit_err vecindex_sql_fail(struct vecindex_table *t, int rc);
/* The payload of a blob that fills a page of this database. */
TACIT_CHECKED enum tacit_err vecindex_sql_room(struct vecindex_table *t,
                                               uint32_t *bytes);

/* ---- vecindex_store.c -----------------------------------------------------
 */

void vecindex_store_init(struct vecindex_table *t);

/* ---- vecindex_blob.c ------------------------------------------------------
 */

/* A segment's key: list << VECINDEX_SEG_BITS | segment. */
enum { VECINDEX_SEG_BITS = 20, VECINDEX_SEG_MIN = 2 << VECINDEX_SEG_BITS };
/* t->blob at the segment under a key. *there false: a column's value is to say
 * what is wrong with it. */
TACIT_CHECKED enum tacit_err vecindex_blob_seek(struct vecindex_table *t,
                                                int64_t key, bool *there);
/* The same of one that has bytes [0, n). E_INDEX_DAMAGED. */
TACIT_CHECKED enum tacit_err vecindex_blob_reach(struct vecindex_table *t,
                                                 int64_t key, size_t n);
/* Bytes [from, from + n) of t->blob, which has them; borrowed until the next
 * call. */
TACIT_CHECKED enum tacit_err vecindex_blob_bytes(struct vecindex_table *t,
                                                 size_t from, size_t n,
                                                 const void **data);
/* Bytes [from, from + n) of a segment anew. E_INDEX_DAMAGED: it is shorter. */
TACIT_CHECKED enum tacit_err vecindex_blob_patch(struct vecindex_table *t,
                                                 int64_t key, size_t from,
                                                 size_t n, const void *data);
/* Let go of the segment that was used last. */
void vecindex_blob_rest(struct vecindex_table *t);

/* ---- vecindex_ahead.c -----------------------------------------------------
 */

/* The shadow tables whose pages can be asked for. */
enum vecindex_ahead_table { VECINDEX_AHEAD_LIST, VECINDEX_AHEAD_SEG };
enum { VECINDEX_AHEAD_N = VECINDEX_AHEAD_SEG + 1 };
struct vecindex_keys {
    int64_t low, high;
};
/* The rows under these keys are read soon: a hint, which fails silently. */
void vecindex_ahead_want(struct vecindex_table *t,
                         enum vecindex_ahead_table which,
                         const struct vecindex_keys *keys, size_t n);
/* Forget the file, which may be another one in the next operation. */
void vecindex_ahead_end(struct vecindex_table *t);

/* ---- vecindex_value.c -----------------------------------------------------
 */

/* A vector [dim] from f32 bytes or a JSON array. SHAPE, FORMAT. */
TACIT_CHECKED enum tacit_err vecindex_value_vector(
    const struct vecindex_table *t, sqlite3_value *v, float *out);

/* A filter column's value as the word that is compared:
 *
 *   int    itself; INT64_MIN is NULL (and no value)
 *   real   its bits, turned so that they rise with it; NULL below all
 *   text   seven bytes, then 1 + its length, at most 9: NULL is 0
 *
 * so words rise as values do, and of two different texts only those that agree
 * in seven bytes and have eight or more share a word. */
enum { VECINDEX_TEXT_WHOLE = 7 };
#define VECINDEX_WORD_NULL INT64_MIN
/* FORMAT: another type, or what a word cannot hold. */
TACIT_CHECKED enum tacit_err vecindex_value_word(
    const struct vecindex_column *c, sqlite3_value *v, int64_t *word);
int64_t vecindex_value_real(double v);
int64_t vecindex_value_text(const unsigned char *s, size_t n);
/* Whether other texts may have the same word. */
bool vecindex_value_is_shared(int64_t text_word);

/* ---- vecindex.c -----------------------------------------------------------
 */

/* Open ivf, or let it see what other connections wrote. */
TACIT_CHECKED enum tacit_err vecindex_ready(struct vecindex_table *t);
/* End an operation: reset statements; the recorded failure becomes the table's
 * message and SQLite's code, which is returned. */
int vecindex_end(struct vecindex_table *t, enum tacit_err err);
/* One user less; the last frees it. */
void vecindex_module_release(void *module);
/* Whether there is a row id. */
TACIT_CHECKED enum tacit_err vecindex_has(struct vecindex_table *t, int64_t id,
                                          bool *has);
/* Write the meta blob of an empty index; its rotation is that of the rows that
 * are there, the best one where there are none. */
TACIT_CHECKED enum tacit_err vecindex_settle(struct vecindex_table *t);
/* The partition with these keys [n_keys]; *part = 0 when there is none and it
 * is not to be made. */
enum vecindex_missing { VECINDEX_FIND, VECINDEX_MAKE };
TACIT_CHECKED enum tacit_err vecindex_partition(struct vecindex_table *t,
                                                sqlite3_value **keys,
                                                enum vecindex_missing missing,
                                                int64_t *part);

/* ---- vecindex_plan.c ------------------------------------------------------
 */

enum vecindex_plan { PLAN_SCAN, PLAN_POINT, PLAN_NEAREST };
/* Hidden columns, behind the user's. */
enum vecindex_hidden {
    HIDDEN_COMMAND,
    HIDDEN_DISTANCE,
    HIDDEN_K,
    HIDDEN_RECALL,
    HIDDEN_PROBES,
    HIDDEN_EXACT,
    HIDDEN_N
};

/* idxStr: three characters for each argument of xFilter: what it is, how it is
 * compared, and '0' + the number of the column among its kind. */
enum vecindex_term {
    TERM_MATCH = 'm',
    TERM_K = 'k',
    TERM_LIMIT = 'l',
    TERM_OFFSET = 'o',
    TERM_RECALL = 'r',
    TERM_PROBES = 'p',
    TERM_EXACT = 'e',
    TERM_DISTANCE = 'd',
    TERM_ROWID = 'i',
    TERM_FILTER = 'f',
    TERM_KEY = 't'
};
enum vecindex_compare {
    COMPARE_EQ = '=',
    COMPARE_IS = 's',
    COMPARE_NE = '!',
    COMPARE_LT = '<',
    COMPARE_LE = '[',
    COMPARE_GT = '>',
    COMPARE_GE = ']',
    COMPARE_IN = 'i',
    COMPARE_NULL = 'n',
    COMPARE_VALUE = 'v' /* IS NOT NULL */
};

int vecindex_plan(sqlite3_vtab *vtab, sqlite3_index_info *info);

/* ---- vecindex_compare.c ---------------------------------------------------
 */

/* -1, 0, 1. Exact, also where a double cannot hold i. */
int vecindex_compare_int(int64_t i, double d);
/* Whether column i of a row, of this type, stands so to v: `how` of enum
 * vecindex_compare, but for COMPARE_IN. */
bool vecindex_compare_holds(enum vecindex_type type, sqlite3_stmt *row, int i,
                            char how, sqlite3_value *v);

/* ---- vecindex_filter.c ----------------------------------------------------
 */

/* What a nearest search was asked for, and what it found. */
struct vecindex_found {
    struct ivf_hit *hits; /* [n] owned */
    size_t n;
    int64_t k;
    double recall;
    int64_t probes, exact;
};
TACIT_CHECKED enum tacit_err vecindex_nearest(struct vecindex_table *t,
                                              const char *plan, int n_values,
                                              sqlite3_value **values,
                                              struct vecindex_found *found);

/* ---- vecindex_cursor.c ----------------------------------------------------
 */

int vecindex_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out);
int vecindex_close(sqlite3_vtab_cursor *c);
int vecindex_filter(sqlite3_vtab_cursor *c, int plan, const char *terms,
                    int n_values, sqlite3_value **values);
int vecindex_next(sqlite3_vtab_cursor *c);
int vecindex_eof(sqlite3_vtab_cursor *c);
int vecindex_column(sqlite3_vtab_cursor *c, sqlite3_context *ctx, int i);
int vecindex_rowid(sqlite3_vtab_cursor *c, sqlite3_int64 *id);

/* ---- vecindex_write.c -----------------------------------------------------
 */

int vecindex_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv,
                    sqlite3_int64 *rowid);
/* Write the rows that are held in memory. */
TACIT_CHECKED enum tacit_err vecindex_held_write(struct vecindex_table *t);
/* Changes begin: until they are whole the table cannot be committed. STATE when
 * an earlier one broke off. */
TACIT_CHECKED enum tacit_err vecindex_tear(struct vecindex_table *t);
/* Add a row inside a change. STATE when there is one. */
TACIT_CHECKED enum tacit_err vecindex_add(struct vecindex_table *t, int64_t id,
                                          const float *v,
                                          sqlite3_value **columns);

/* ---- vecindex_check.c, vecindex_import.c ----------------------------------
 */

/* INSERT INTO v(v) VALUES (command); one that writes begins by
 * vecindex_tear(). */
TACIT_CHECKED enum tacit_err vecindex_command(struct vecindex_table *t,
                                              const char *command);
TACIT_CHECKED enum tacit_err vecindex_import(struct vecindex_table *t,
                                             const char *source);
/* The whole index against its rows, as PRAGMA integrity_check asks for it:
 * *problem is NULL or owned by SQLite. Nothing is looked at for quick_check. */
int vecindex_integrity(sqlite3_vtab *vtab, const char *schema, const char *name,
                       int is_quick, char **problem);
/* The SQL functions tacit_vec_…(). */
int vecindex_functions(struct vecindex_module *m);

#endif
