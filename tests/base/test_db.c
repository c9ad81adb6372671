/* db: migrations once and in order, a newer or foreign file left as it is, and
 * a full disk or a busy store said by name. */
#include "tests/check.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/db.h"
#include "common/base/file.h"
#include "common/base/tick.h"

static char dir[256], path[300];

static const char *const steps[] = {
    "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, x REAL, b BLOB);",
    "INSERT INTO t(name) VALUES('by step 2');",
    "CREATE TABLE child(t INTEGER NOT NULL REFERENCES t(id));"
    "INSERT INTO t(name) VALUES('by step 3');"};

static int begin(void **state)
{
    (void)state;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/store.db", dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    check_tmpdir_remove(dir);
    return 0;
}

static int64_t number(struct db *db, const char *sql)
{
    int64_t v = -1;
    check_ok(db_int(db, &v, sql, ""));
    return v;
}

static void open_store(struct db *db, size_t n_steps)
{
    check_ok(db_open(db, path, DB_CREATE, steps, n_steps));
}

static void content(struct buf *b)
{
    buf_init(b, 0);
    check_ok(file_read(path, 1 << 20, b));
}

static void migrations_run_once_and_in_order(void **state)
{
    (void)state;
    struct db db;
    open_store(&db, 2);
    check(number(&db, "PRAGMA user_version") == 2);
    check(number(&db, "SELECT count(*) FROM t") == 1);
    db_close(&db);
    for (int again = 0; again < 2; again++) {
        open_store(&db, 3);
        check(number(&db, "PRAGMA user_version") == 3);
        check(number(&db, "SELECT count(*) FROM t") == 2);
        db_close(&db);
    }
}

static void a_store_is_set_up_to_be_durable(void **state)
{
    (void)state;
    struct db db;
    sqlite3_stmt *st;
    int has_row = 0;
    open_store(&db, 3);
    check(number(&db, "PRAGMA synchronous") == 2);
    check(number(&db, "PRAGMA foreign_keys") == 1);
    check(number(&db, "PRAGMA trusted_schema") == 0);
    check_ok(db_query(&db, &st, "PRAGMA journal_mode", ""));
    check_ok(db_step(&db, st, &has_row));
    check(has_row);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "wal");
    db_finish(st);
    assert_int_equal(sqlite3_memory_used(), 0); /* db_setup() */
    db_close(&db);
}

/* An SQLite that is built otherwise than the one here may be. */
static int keep_deleted(sqlite3 *sql, const char **why, const void *api)
{
    (void)why, (void)api;
    return sqlite3_exec(sql, "PRAGMA secure_delete=OFF", NULL, NULL, NULL);
}

static size_t n_in_file(const char *text)
{
    struct buf b;
    size_t n = 0, len = strlen(text);
    content(&b);
    for (size_t i = 0; i + len <= b.len; i++)
        n += memcmp(b.data + i, text, len) == 0;
    buf_release(&b);
    return n;
}

static void deleted_text_is_not_left_in_the_file(void **state)
{
    (void)state;
    static const char known[] = "the patient's own words. ";
    static char text[40000];
    struct db db;
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = known[i % (sizeof known - 1)];
    check(sqlite3_auto_extension((void (*)(void))keep_deleted) == SQLITE_OK);
    open_store(&db, 1);
    sqlite3_reset_auto_extension();
    /* Pages of its own, and one that others stay in. */
    check_ok(db_run(&db, "INSERT INTO t(id, name) VALUES(1, ?)", "s", text));
    check_ok(db_run(&db, "INSERT INTO t(id, name) VALUES(2, ?)", "s", known));
    check_ok(db_run(&db, "INSERT INTO t(id, name) VALUES(3, 'stays')", ""));
    check_ok(db_exec(&db, "PRAGMA wal_checkpoint(TRUNCATE)"));
    check(n_in_file(known) > sizeof text / sizeof known - 20);
    check_ok(db_exec(&db, "DELETE FROM t WHERE id < 3"));
    check_ok(db_exec(&db, "PRAGMA wal_checkpoint(TRUNCATE)"));
    check(number(&db, "PRAGMA freelist_count") > 5);
    assert_int_equal(n_in_file(known), 0);
    assert_int_equal(n_in_file("stays"), 1);
    db_close(&db);
}

static void a_failing_migration_leaves_the_one_before(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "CREATE TABLE t(id INTEGER);",
        "INSERT INTO t VALUES(1); INSERT INTO missing VALUES(1);"};
    struct db db;
    check_err(db_open(&db, path, DB_CREATE, bad, 2), TACIT_INTERNAL);
    check(db.sql == NULL);
    check_ok(db_open(&db, path, DB_EXISTING, bad, 1));
    check(number(&db, "PRAGMA user_version") == 1);
    check(number(&db, "SELECT count(*) FROM t") == 0);
    db_close(&db);
}

static void a_newer_store_is_refused_untouched(void **state)
{
    (void)state;
    struct db db;
    struct buf before, after;
    /* As another program left it: no WAL yet, so that a switch would show. */
    open_store(&db, 3);
    check_ok(db_exec(&db, "PRAGMA journal_mode=DELETE"));
    db_close(&db);
    content(&before);
    static const enum db_mode modes[] = {DB_CREATE, DB_EXISTING, DB_READONLY};
    for (size_t i = 0; i < 3; i++)
        check_code(db_open(&db, path, modes[i], steps, 2), E_STORE_NEWER);
    content(&after);
    check(before.len == after.len &&
          memcmp(before.data, after.data, after.len) == 0);
    buf_release(&before);
    buf_release(&after);
}

static void a_store_that_is_not_there_is_not_made(void **state)
{
    (void)state;
    struct db db;
    check_code(db_open(&db, path, DB_EXISTING, steps, 3), E_NOT_INITIALISED);
    check_code(db_open(&db, path, DB_READONLY, steps, 3), E_NOT_INITIALISED);
    check(!file_exists(path));
    snprintf(path, sizeof path, "%s/no/store.db", dir);
    check_err(db_open(&db, path, DB_CREATE, steps, 3), TACIT_IO);
}

static void what_is_no_database_is_refused_untouched(void **state)
{
    (void)state;
    static char text[5000];
    struct db db;
    struct buf after;
    memset(text, 'x', sizeof text);
    check_ok(file_write(path, text, sizeof text, 0600));
    check_err(db_open(&db, path, DB_CREATE, steps, 3), TACIT_FORMAT);
    content(&after);
    check(after.len == sizeof text && memcmp(after.data, text, after.len) == 0);
    buf_release(&after);
}

static void a_damaged_store_says_so(void **state)
{
    (void)state;
    struct db db;
    struct buf b;
    open_store(&db, 3);
    for (int i = 0; i < 300; i++)
        check_ok(
            db_run(&db, "INSERT INTO t(name) VALUES(hex(zeroblob(200)))", ""));
    check_ok(db_exec(&db, "PRAGMA journal_mode=DELETE"));
    db_close(&db);
    content(&b);
    for (size_t at = 4096; at < b.len; at += 97) b.data[at] ^= 0x5a;
    check_ok(file_write(path, b.data, b.len, 0600));
    buf_release(&b);
    int64_t v;
    enum tacit_err e = db_open(&db, path, DB_EXISTING, steps, 3);
    if (!e) {
        e = db_int(&db, &v, "SELECT count(name) FROM t", "");
        db_close(&db);
    }
    check(strstr(err_message(), "damaged") != NULL);
    check_err(e, TACIT_FORMAT);
}

static void every_kind_of_value_comes_back(void **state)
{
    (void)state;
    struct db db;
    sqlite3_stmt *st;
    int has_row = 0;
    const char *none = NULL;
    open_store(&db, 1);
    check_ok(db_run(&db, "INSERT INTO t VALUES(?, ?, ?, ?)", "isdb", INT64_MIN,
                    "caf\xc3\xa9", 0.1, "a\0b", (size_t)3));
    check_ok(db_run(&db, "INSERT INTO t(id, name, b) VALUES(?, ?, ?)", "isb",
                    (int64_t)7, none, NULL, (size_t)0));
    check_ok(db_query(&db, &st, "SELECT * FROM t ORDER BY id", ""));
    check_ok(db_step(&db, st, &has_row));
    check(has_row && sqlite3_column_int64(st, 0) == INT64_MIN);
    assert_string_equal((const char *)sqlite3_column_text(st, 1),
                        "caf\xc3\xa9");
    check(sqlite3_column_double(st, 2) == 0.1);
    check(sqlite3_column_bytes(st, 3) == 3);
    check(memcmp(sqlite3_column_blob(st, 3), "a\0b", 3) == 0);
    check_ok(db_step(&db, st, &has_row));
    check(has_row && sqlite3_column_type(st, 1) == SQLITE_NULL);
    /* Empty bytes are not NULL. */
    check(sqlite3_column_type(st, 3) == SQLITE_BLOB ||
          sqlite3_column_type(st, 3) == SQLITE_TEXT);
    check_ok(db_step(&db, st, &has_row));
    check(!has_row);
    db_finish(st);
    int64_t v = 99;
    check_err(db_int(&db, &v, "SELECT id FROM t WHERE id = ?", "i",
                     (int64_t)55),
              TACIT_NOTFOUND);
    check(v == 99);
    db_close(&db);
}

static void mistakes_of_ours_are_internal(void **state)
{
    (void)state;
    struct db db;
    sqlite3_stmt *st = NULL;
    open_store(&db, 3);
    check_err(db_exec(&db, "SELEC 1"), TACIT_INTERNAL);
    check_err(db_query(&db, &st, "SELECT ?", "z", 1), TACIT_INTERNAL);
    check_err(db_query(&db, &st, "SELECT 1", "i", (int64_t)1), TACIT_INTERNAL);
    check(st == NULL);
    /* What the data forbids is a state, not a bug. */
    check_err(db_run(&db, "INSERT INTO child VALUES(?)", "i", (int64_t)12345),
              TACIT_STATE);
    db_close(&db);
}

static void a_rollback_takes_back_and_may_be_repeated(void **state)
{
    (void)state;
    struct db db;
    open_store(&db, 1);
    check_ok(db_begin(&db));
    check_ok(db_run(&db, "INSERT INTO t(name) VALUES('x')", ""));
    db_rollback(&db);
    db_rollback(&db);
    check(number(&db, "SELECT count(*) FROM t") == 0);
    check_ok(db_begin(&db));
    check_ok(db_run(&db, "INSERT INTO t(name) VALUES('x')", ""));
    check_ok(db_commit(&db));
    db_rollback(&db);
    check(number(&db, "SELECT count(*) FROM t") == 1);
    db_close(&db);
}

static void a_second_writer_finds_the_store_busy(void **state)
{
    (void)state;
    struct db one, two;
    open_store(&one, 1);
    open_store(&two, 1);
    sqlite3_busy_timeout(two.sql, 1);
    check_ok(db_begin(&one));
    check_code(db_begin(&two), E_STORE_BUSY);
    check(number(&two, "SELECT count(*) FROM t") == 0); /* readers go on */
    check_ok(db_commit(&one));
    check_ok(db_begin(&two));
    db_rollback(&two);
    db_close(&one);
    db_close(&two);
}

static void who_only_reads_a_held_store_is_told_how_long_it_waited(void **state)
{
    (void)state;
    struct db one, two;
    open_store(&one, 1);
    check_ok(db_exec(&one, "PRAGMA locking_mode=EXCLUSIVE"));
    check_ok(db_exec(&one, "BEGIN EXCLUSIVE; INSERT INTO t(name) VALUES('x')"));
    check(db_open(&two, path, DB_CREATE, steps, 1) == TACIT_STATE);
    check(err_id() == E_STORE_BUSY);
    assert_non_null(strstr(err_message(), "store.db: cannot open the store: "
                                          "another process holds it, still "
                                          "after 5 s"));
    err_clear();
    db_rollback(&one);
    db_close(&one);
}

/* A store that keeps no log yet, held by one who is changing it: as long as its
 * pipe is open, then 200 ms. */
static pid_t hold(int *pipe_end)
{
    int to_child[2], to_parent[2];
    char byte = 0;
    check(pipe(to_child) == 0 && pipe(to_parent) == 0);
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        sqlite3 *sql;
        close(to_child[1]);
        if (sqlite3_open(path, &sql) ||
            sqlite3_exec(sql, "CREATE TABLE other(x); BEGIN IMMEDIATE", NULL,
                         NULL, NULL) ||
            write(to_parent[1], "", 1) != 1 || read(to_child[0], &byte, 1) != 0)
            _exit(1);
        usleep(200000);
        _exit(sqlite3_exec(sql, "COMMIT", NULL, NULL, NULL) != SQLITE_OK ||
              sqlite3_close(sql) != SQLITE_OK);
    }
    close(to_child[0]);
    close(to_parent[1]);
    check(read(to_parent[0], &byte, 1) == 1);
    close(to_parent[0]);
    *pipe_end = to_child[1];
    return pid;
}

static void who_opens_a_held_store_waits_for_its_log(void **state)
{
    (void)state;
    struct db db;
    int until, status;
    pid_t pid = hold(&until);
    int64_t from = tick_ns();
    check_code(db_open(&db, path, DB_CREATE, steps, 1), E_STORE_BUSY);
    check(tick_ns() - from >= 5000000000);
    close(until);
    open_store(&db, 1);
    check(waitpid(pid, &status, 0) == pid && status == 0);
    check(number(&db, "SELECT count(*) FROM t") == 0);
    db_close(&db);
}

static void a_full_disk_keeps_what_was_committed(void **state)
{
    (void)state;
    struct db db;
    enum tacit_err e = TACIT_OK;
    open_store(&db, 1);
    check_ok(db_run(&db, "INSERT INTO t(name) VALUES('kept')", ""));
    check_ok(db_exec(&db, "PRAGMA max_page_count=10"));
    check_ok(db_begin(&db));
    for (int i = 0; !e && i < 100; i++)
        e = db_run(&db, "INSERT INTO t(b) VALUES(zeroblob(4000))", "");
    check_code(e, E_DISK_FULL);
    db_rollback(&db);
    check(number(&db, "SELECT count(*) FROM t") == 1);
    db_close(&db);
    open_store(&db, 1);
    check(number(&db, "SELECT count(*) FROM t WHERE name = 'kept'") == 1);
    db_close(&db);
}

static void a_reader_cannot_write(void **state)
{
    (void)state;
    struct db db;
    open_store(&db, 2);
    db_close(&db);
    check_ok(db_open(&db, path, DB_READONLY, steps, 3));
    check(number(&db, "SELECT count(*) FROM t") == 1);
    check_err(db_run(&db, "INSERT INTO t(name) VALUES('x')", ""), TACIT_IO);
    db_close(&db);
}

/* ---- where nothing may be written ---------------------------------------- */

enum { NOBODY = 65534, SEES_NONE = 200 };

/* What somebody finds who may read the file and write neither it nor beside it:
 * the error's number, or SEES_NONE + rows of t. */
static int opened_by_nobody(const char *file, size_t n_steps)
{
    int status;
    check(chmod(dir, 0555) == 0);
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        struct db db;
        if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0) _exit(1);
        if (db_open(&db, file, DB_READABLE, steps, n_steps))
            _exit((int)err_id());
        int64_t n = number(&db, "SELECT count(*) FROM t");
        enum tacit_err err = db_run(&db, "DELETE FROM t", "");
        if (!db.is_readonly || !err || err_id() != E_STORE_READONLY) _exit(2);
        db_close(&db);
        _exit(SEES_NONE + (int)n);
    }
    check(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    check(chmod(dir, 0755) == 0);
    return WEXITSTATUS(status);
}

static void copy_to(const char *from, const char *to)
{
    struct buf b;
    buf_init(&b, 0);
    check_ok(file_read(from, 1 << 20, &b));
    check_ok(file_write(to, b.data, b.len, 0444));
    buf_release(&b);
}

static void what_may_only_be_read_is_read(void **state)
{
    (void)state;
    struct db db;
    char log[400], file[400], cut[500];
    snprintf(log, sizeof log, "%s-wal", path);
    open_store(&db, 2);
    db_close(&db);
    check(chmod(path, 0444) == 0);
    check(opened_by_nobody(path, 2) == SEES_NONE + 1);
    check(opened_by_nobody(path, 3) == E_STORE_READONLY);
    check(opened_by_nobody(path, 1) == E_STORE_NEWER);
    /* Beside a log whose index is there, and one whose is not. */
    check(chmod(path, 0644) == 0);
    open_store(&db, 2);
    check_ok(db_run(&db, "INSERT INTO t(name) VALUES('new')", ""));
    check(!db.is_readonly);
    snprintf(file, sizeof file, "%s/a ?#%%'.db", dir);
    snprintf(cut, sizeof cut, "%s-wal", file);
    copy_to(path, file);
    check(opened_by_nobody(path, 2) == SEES_NONE + 2);
    check(opened_by_nobody(file, 2) == SEES_NONE + 1);
    copy_to(log, cut);
    check(opened_by_nobody(file, 2) == E_STORE_LOG);
    db_close(&db);
}

static void other_tables_than_were_made_are_damage(void **state)
{
    (void)state;
    struct db db;
    int64_t n = 7;
    open_store(&db, 2);
    check_ok(db_exec(&db, "ALTER TABLE t RENAME COLUMN name TO nale"));
    db_close(&db);
    open_store(&db, 2);
    enum tacit_err err = db_int(&db, &n, "SELECT max(name) FROM t", "");
    assert_non_null(strstr(err_message(), path));
    assert_non_null(strstr(err_message(), "no such column: name"));
    check_code(err, E_STORE_DAMAGED);
    assert_int_equal(n, 7);
    db_close(&db);
}

static void a_path_too_long_is_refused(void **state)
{
    (void)state;
    char deep[600];
    struct db db;
    memset(deep, 'x', sizeof deep);
    deep[sizeof deep - 1] = '\0';
    check_err(db_open(&db, deep, DB_CREATE, steps, 1), TACIT_LIMIT);
    check(db.sql == NULL);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(migrations_run_once_and_in_order),
        IN_FOLDER(a_store_is_set_up_to_be_durable),
        IN_FOLDER(deleted_text_is_not_left_in_the_file),
        IN_FOLDER(a_failing_migration_leaves_the_one_before),
        IN_FOLDER(a_newer_store_is_refused_untouched),
        IN_FOLDER(a_store_that_is_not_there_is_not_made),
        IN_FOLDER(what_is_no_database_is_refused_untouched),
        IN_FOLDER(a_damaged_store_says_so),
        IN_FOLDER(every_kind_of_value_comes_back),
        IN_FOLDER(mistakes_of_ours_are_internal),
        IN_FOLDER(a_rollback_takes_back_and_may_be_repeated),
        IN_FOLDER(a_second_writer_finds_the_store_busy),
        IN_FOLDER(who_only_reads_a_held_store_is_told_how_long_it_waited),
        IN_FOLDER(who_opens_a_held_store_waits_for_its_log),
        IN_FOLDER(a_full_disk_keeps_what_was_committed),
        IN_FOLDER(a_reader_cannot_write),
        IN_FOLDER(what_may_only_be_read_is_read),
        IN_FOLDER(other_tables_than_were_made_are_damage),
        IN_FOLDER(a_path_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
