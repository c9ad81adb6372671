/* db_mend: a table whose pages cannot be read is made again, and what is lost
 * of it given back; of a store that is damaged elsewhere nothing is copied. */
#include "tests/check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/db_mend.h"

enum { PAGE = 4096 };

static char dir[256], path[300];

static const char *const steps[] = {
    "CREATE VIRTUAL TABLE words USING fts5(text);"
    "CREATE TABLE kept(id INTEGER PRIMARY KEY, text TEXT);"
    "CREATE TABLE wordsmith(id INTEGER PRIMARY KEY);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
    " WHERE i < 2000) INSERT INTO kept SELECT i, hex(randomblob(20)) FROM n;"
    "INSERT INTO words SELECT text FROM kept"};

static int64_t number(struct db *db, const char *sql)
{
    int64_t v = -1;
    check_ok(db_int(db, &v, sql, ""));
    return v;
}

/* A store, with the first page of `table` overwritten. */
static void open_damaged(struct db *db, const char *table)
{
    static const uint8_t zeros[PAGE];
    char sql[128];
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/store.db", dir);
    check_ok(db_open(db, path, DB_CREATE, steps, 1));
    assert_int_equal(number(db, "PRAGMA page_size"), PAGE);
    snprintf(sql, sizeof sql,
             "SELECT rootpage FROM sqlite_schema WHERE name = '%s'", table);
    int64_t root = number(db, sql);
    db_close(db);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)(root - 1) * PAGE, SEEK_SET), 0);
    assert_int_equal(fwrite(zeros, 1, PAGE, f), PAGE);
    assert_int_equal(fclose(f), 0);
    check_ok(db_open(db, path, DB_EXISTING, steps, 1));
}

static enum db_condition condition_of(struct db *db)
{
    enum db_condition c = DB_DAMAGED;
    if (db_examine(db, &c)) {
        assert_int_equal(err_id(), E_STORE_DAMAGED);
        err_clear();
    }
    return c;
}

/* What is damaged is not copied. */
static void reclaim_nothing(struct db *db)
{
    int64_t n = number(db, "PRAGMA page_count");
    if (db_reclaim(db)) err_clear();
    assert_int_equal(number(db, "PRAGMA page_count"), n);
    assert_int_equal(condition_of(db), DB_DAMAGED);
}

static enum tacit_err make(struct db *db, void *ctx)
{
    ++*(int *)ctx;
    return db_exec(db, "CREATE VIRTUAL TABLE words USING fts5(text);"
                       "INSERT INTO words SELECT text FROM kept");
}

static enum tacit_err make_nothing(struct db *db, void *ctx)
{
    (void)db, (void)ctx;
    return fail_as(E_DISK_FULL, "no room");
}

static void a_table_that_cannot_be_dropped_is_made_anew(void **state)
{
    struct db db;
    int made = 0;
    (void)state;
    open_damaged(&db, "words_data");
    assert_int_equal(condition_of(&db), DB_DAMAGED);
    check_code(db_exec(&db, "DROP TABLE words"), E_STORE_DAMAGED);
    reclaim_nothing(&db);
    check_code(db_make_anew(&db,
                            &(struct db_made){"words", make_nothing, NULL}),
               E_DISK_FULL);
    assert_int_equal(number(&db, "SELECT count(*) FROM sqlite_schema"
                                 " WHERE name = 'words'"),
                     1);
    check_ok(db_make_anew(&db, &(struct db_made){"words", make, &made}));
    assert_int_equal(made, 1);
    assert_int_equal(condition_of(&db), DB_PAGES_LOST);
    int64_t n = number(&db, "PRAGMA page_count");
    check_ok(db_reclaim(&db));
    assert_int_equal(condition_of(&db), DB_WHOLE);
    assert_true(number(&db, "PRAGMA page_count") < n);
    assert_int_equal(number(&db, "SELECT count(*) FROM words"), 2000);
    assert_int_equal(number(&db, "SELECT count(*) FROM wordsmith"), 0);
    db_close(&db);
    check_tmpdir_remove(dir);
}

static void lost_pages_hide_no_other_damage(void **state)
{
    struct db db;
    int made = 0;
    (void)state;
    open_damaged(&db, "wordsmith");
    check_ok(db_make_anew(&db, &(struct db_made){"words", make, &made}));
    assert_int_equal(condition_of(&db), DB_DAMAGED);
    reclaim_nothing(&db);
    db_close(&db);
    check_tmpdir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_that_cannot_be_dropped_is_made_anew),
        cmocka_unit_test(lost_pages_hide_no_other_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
