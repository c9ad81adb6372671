/* Damage to the shadow tables of a tacit_vec table v, drawn from bytes; and all
 * that may be done with it then. Used by test_vecindex_damage and
 * fuzz_vecindex. */
#ifndef TACIT_TESTS_RETRIEVAL_VECDAMAGE_H
#define TACIT_TESTS_RETRIEVAL_VECDAMAGE_H

#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that decide; zeros behind the end. */
struct vecdamage_source {
    const uint8_t *p;
    size_t left;
};

static inline unsigned vecdamage_draw(struct vecdamage_source *s, unsigned n)
{
    unsigned v = 0;
    for (int i = 0; i < 2 && s->left; i++, s->left--) v = v << 8 | *s->p++;
    return n ? v % n : 0;
}

static inline int vecdamage_run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* A column of a row of a shadow table, drawn. */
struct vecdamage_place {
    const char *table, *column;
    sqlite3_int64 id;
};

static inline struct vecdamage_place vecdamage_place(sqlite3 *db,
                                                     struct vecdamage_source *s)
{
    static const char *const places[][2] = {
        {"v_info", "value"}, {"v_list", "head"},  {"v_list", "part"},
        {"v_list", "id"},    {"v_seg", "data"},   {"v_seg", "data"},
        {"v_seg", "id"},     {"v_place", "list"}, {"v_place", "second"},
        {"v_place", "id"},   {"v_part", "p0"},    {"v_part", "id"},
        {"v_aux", "f0"},     {"v_aux", "p0"},     {"v_aux", "id"},
        {"v_aux", "a0"}};
    unsigned i = vecdamage_draw(s, sizeof places / sizeof places[0]);
    struct vecdamage_place place = {places[i][0], places[i][1], 0};
    char sql[192];
    sqlite3_stmt *st = NULL;
    snprintf(sql, sizeof sql,
             "SELECT id FROM %s LIMIT 1 OFFSET %u %% max(1, (SELECT count(*)"
             " FROM %s))",
             place.table, vecdamage_draw(s, 40), place.table);
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        place.id = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return place;
}

/* Change some bytes of a blob, or its length. */
static inline void vecdamage_bytes(sqlite3 *db, struct vecdamage_place place,
                                   struct vecdamage_source *s)
{
    char sql[128];
    sqlite3_stmt *st = NULL;
    uint8_t *copy = NULL;
    int n = 0, rc;
    snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE id = %lld", place.column,
             place.table, place.id);
    rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (!rc && sqlite3_step(st) == SQLITE_ROW) {
        const void *blob = sqlite3_column_blob(st, 0);
        n = sqlite3_column_bytes(st, 0);
        copy = malloc((size_t)n + 16);
        if (copy && blob) memcpy(copy, blob, (size_t)n);
    }
    sqlite3_finalize(st);
    if (!copy || !n) {
        free(copy);
        return;
    }
    memset(copy + n, 0xff, 16);
    unsigned changes = 1 + vecdamage_draw(s, 4);
    for (unsigned i = 0; i < changes; i++) {
        /* Mostly in the header, where most can go wrong. */
        unsigned reach = vecdamage_draw(s, 3) ? 24 : (unsigned)n;
        unsigned at =
            vecdamage_draw(s, reach < (unsigned)n ? reach : (unsigned)n);
        copy[at] = (uint8_t)vecdamage_draw(s, 256);
    }
    if (vecdamage_draw(s, 4) == 0) n = (int)vecdamage_draw(s, (unsigned)n + 16);
    snprintf(sql, sizeof sql, "UPDATE %s SET %s = ?1 WHERE id = %lld",
             place.table, place.column, place.id);
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK) {
        sqlite3_bind_blob(st, 1, copy, n, SQLITE_STATIC);
        sqlite3_step(st);
    }
    sqlite3_finalize(st);
    free(copy);
}

static inline void vecdamage_once(sqlite3 *db, struct vecdamage_source *s)
{
    static const char *const values[] = {"-1",
                                         "0",
                                         "1",
                                         "2",
                                         "3",
                                         "9223372036854775807",
                                         "2147483647",
                                         "2147483648",
                                         "-9223372036854775808",
                                         "'text'",
                                         "1e300",
                                         "x''",
                                         "zeroblob(7)",
                                         "zeroblob(300)",
                                         "NULL",
                                         "NULL",
                                         "randomblob(16)"};
    struct vecdamage_place place = vecdamage_place(db, s);
    char sql[256];
    switch (vecdamage_draw(s, 5)) {
    case 0:
        snprintf(sql, sizeof sql, "DELETE FROM %s WHERE id = %lld", place.table,
                 place.id);
        break;
    case 1:
        snprintf(sql, sizeof sql, "UPDATE %s SET %s = %s WHERE id = %lld",
                 place.table, place.column,
                 values[vecdamage_draw(s, sizeof values / sizeof values[0])],
                 place.id);
        break;
    case 2:
        snprintf(sql, sizeof sql,
                 "UPDATE %s SET %s = (SELECT %s FROM %s LIMIT 1 OFFSET %u)"
                 " WHERE id = %lld",
                 place.table, place.column, place.column, place.table,
                 vecdamage_draw(s, 40), place.id);
        break;
    default: vecdamage_bytes(db, place, s); return;
    }
    vecdamage_run(db, sql);
}

/* Statements that may fail and must not do worse. */
static inline void vecdamage_use(sqlite3 *db, struct vecdamage_source *s)
{
    static const char *const uses[] = {
        "SELECT * FROM v WHERE e MATCH '[1,2,3,4,5,6,7,8]' AND k = 10",
        "SELECT * FROM v WHERE e MATCH '[3,2,3,4,5,6,7,0]' AND k = 100 AND"
        " exact = 1",
        "SELECT * FROM v WHERE e MATCH '[9,2,9,4,9,6,9,8]' AND k = 20 AND"
        " dept > 2 AND recall = 1.0",
        "SELECT * FROM v WHERE e MATCH '[1,2,3,4,5,6,7,8]' AND k = 5 AND"
        " tenant = 'b' AND probes = 3",
        "SELECT * FROM v WHERE e MATCH '[1,2,3,4,5,6,7,8]' AND k = 5 AND"
        " rowid IN (1, 2, 3, 400, 401, 402)",
        "SELECT * FROM v",
        "SELECT * FROM v WHERE rowid = 17",
        "INSERT INTO v(e, dept, tenant) VALUES ('[1,1,2,3,4,5,6,7]', 1, 'a')",
        "INSERT INTO v(e, dept, tenant) SELECT e, dept, tenant FROM v WHERE"
        " rowid < 60",
        "REPLACE INTO v(rowid, e, dept, tenant) VALUES"
        " (5, '[1,1,2,3,4,5,6,7]', 1, 'c')",
        "UPDATE v SET dept = 4 WHERE rowid % 50 = 3",
        "UPDATE v SET tenant = 'b' WHERE rowid % 50 = 4",
        "UPDATE v SET e = '[1,1,1,1,1,1,1,1]' WHERE rowid % 50 = 5",
        "DELETE FROM v WHERE rowid % 20 = 6",
        "INSERT INTO v(v) VALUES ('integrity-check')",
        "INSERT INTO v(v) VALUES ('optimize')",
        "SELECT tacit_vec_check('v')",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "RELEASE s"};
    vecdamage_run(db, uses[vecdamage_draw(s, sizeof uses / sizeof uses[0])]);
}

/* A table of n rows in two partitions, with all kinds of columns. */
static inline void vecdamage_fill(sqlite3 *db, int n)
{
    char sql[512];
    vecdamage_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[8]"
                      " metric=cosine, dept int filter, tenant text partition"
                      " key, +chunk text)");
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
             " WHERE i < %d) INSERT INTO v(rowid, e, dept, tenant, chunk)"
             " SELECT i, '[' || (i %% 7) || ',' || (i %% 11) || ',' || (i %%"
             " 13) || ',' || (i %% 17) || ',1,2,' || (i %% 5) || ',3]', i %% 6,"
             " CASE WHEN i %% 3 THEN 'a' ELSE 'b' END, 'text ' || i FROM n",
             n);
    vecdamage_run(db, sql);
}

#endif
