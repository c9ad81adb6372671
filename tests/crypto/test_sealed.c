/* The sealed store: SQLite as ever for those who hold the key, noise for all
 * others. test_sealed_damage.c has changed bytes, wrong keys and crashes. */
#include "tests/check.h"

#include <dirent.h>
#include <unistd.h>

#include "tests/crypto/sealed_world.h"

/* ---- the same rows as in a plain store ----------------------------------- */

enum { OPERATIONS = 400, ROWS_MAX = 400 };

/* One drawn change, as SQL that any store can run. */
static void draw(struct rng *r, char *sql, size_t cap)
{
    int id = (int)rng_below(r, ROWS_MAX), n = (int)rng_below(r, 9000);
    switch (rng_below(r, 12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        snprintf(sql, cap,
                 "INSERT OR REPLACE INTO t VALUES(%d, 'w%d x%d', "
                 "zeroblob(%d) || CAST(%d AS BLOB))",
                 id, id, n, n, n);
        return;
    case 4:
    case 5: snprintf(sql, cap, "DELETE FROM t WHERE id = %d", id); return;
    case 6:
        snprintf(sql, cap, "UPDATE t SET a = a || ' y%d' WHERE id %% 7 = %d", n,
                 id % 7);
        return;
    case 7:
        snprintf(sql, cap,
                 "INSERT INTO f(rowid, text) VALUES(NULL, 'alpha beta%d %d')",
                 id, n);
        return;
    case 8: snprintf(sql, cap, "DELETE FROM f WHERE rowid %% 11 = 3"); return;
    case 9:
        snprintf(sql, cap,
                 "SAVEPOINT s; UPDATE t SET b = zeroblob(%d);"
                 "ROLLBACK TO s; DELETE FROM t WHERE id > %d; RELEASE s",
                 n, ROWS_MAX - 5);
        return;
    case 10: snprintf(sql, cap, "PRAGMA wal_checkpoint(TRUNCATE)"); return;
    default: snprintf(sql, cap, "PRAGMA incremental_vacuum(3)"); return;
    }
}

static int64_t sum_of(struct db *db, const char *sql)
{
    int64_t v = 0;
    check_ok(db_int(db, &v, sql, ""));
    return v;
}

static void check_same(struct db *a, struct db *b)
{
    static const char *const questions[] = {
        "SELECT count(*) FROM t",
        "SELECT coalesce(sum(id * length(a) + length(b)), 0) FROM t",
        "SELECT count(*) FROM f",
        "SELECT count(*) FROM f WHERE f MATCH 'alpha'",
        "SELECT coalesce(sum(rowid), 0) FROM f WHERE f MATCH 'beta1*'",
        "SELECT length(group_concat(a || hex(substr(b, -5)))) FROM t",
    };
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        assert_int_equal(sum_of(a, questions[i]), sum_of(b, questions[i]));
}

static void random_changes(const char *mode, unsigned seed)
{
    static const char schema[] =
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b BLOB);"
        "CREATE INDEX t_a ON t(a);"
        "CREATE VIRTUAL TABLE f USING fts5(text);";
    struct world w;
    struct db plain;
    struct rng r;
    char sql[512];
    world_new(&w);
    rng_init(&r, seed, 1, 0);
    check_ok(db_open(&plain, ":memory:", DB_CREATE, NULL, 0));
    snprintf(sql, sizeof sql,
             "PRAGMA cache_size=5; PRAGMA auto_vacuum=INCREMENTAL;"
             "PRAGMA synchronous=OFF;"
             "PRAGMA journal_mode=%s",
             mode);
    check_ok(db_exec(&w.db, sql));
    check_ok(db_exec(&w.db, schema));
    check_ok(db_exec(&plain, schema));
    for (int i = 0; i < OPERATIONS; i++) {
        int n = 1 + (int)rng_below(&r, 5), keep = rng_below(&r, 6) != 0;
        int alone = n == 1 && keep;
        if (!alone) {
            check_ok(db_begin(&w.db));
            check_ok(db_begin(&plain));
        }
        for (int k = 0; k < n; k++) {
            draw(&r, sql, sizeof sql);
            if (!alone && strncmp(sql, "PRAGMA", 6) == 0) continue;
            check_ok(db_exec(&w.db, sql));
            check_ok(db_exec(&plain, sql));
        }
        if (!alone && keep) {
            check_ok(db_commit(&w.db));
            check_ok(db_commit(&plain));
        } else if (!alone) {
            db_rollback(&w.db);
            db_rollback(&plain);
        }
        if (i % 97 == 96) { /* and as another process would read it */
            check_ok(db_exec(&w.db, i % 2 ? "VACUUM" : "PRAGMA optimize"));
            db_close(&w.db);
            world_open(&w, DB_EXISTING);
            snprintf(sql, sizeof sql,
                     "PRAGMA cache_size=5; PRAGMA synchronous=OFF;"
                     "PRAGMA journal_mode=%s",
                     mode);
            check_ok(db_exec(&w.db, sql));
            check_same(&w.db, &plain);
        }
    }
    check_same(&w.db, &plain);
    world_check(&w.db);
    db_close(&plain);
    world_free(&w);
}

static void random_changes_give_the_rows_of_a_plain_store(void **state)
{
    (void)state;
    random_changes("WAL", 1);
}

static void so_they_do_with_a_rollback_journal(void **state)
{
    (void)state;
    random_changes("DELETE", 2);
    random_changes("PERSIST", 3);
    random_changes("TRUNCATE", 4);
}

/* ---- nothing shows ------------------------------------------------------- */

/* Words that stand in the store: whole, in part, and as the index stems and
 * folds them. */
static const char *const canaries[] = {
    "Quokkaberries",  "quokkaberries", "quokkaberri", "kkaberri",
    "Zyzzyvafluence", "zyzzyvafluenc", "zzyvaflu",    "patient 4711",
};
static const char canary_text[] =
    "The Quokkaberries of patient 4711 showed a Zyzzyvafluence at night.";

static const char canary_schema[] =
    "CREATE TABLE d(id INTEGER PRIMARY KEY, text TEXT, secret_column BLOB);"
    "CREATE VIRTUAL TABLE f USING fts5(text, content='d', content_rowid='id',"
    " tokenize='porter unicode61 remove_diacritics 2', prefix='4');";

static void put_canaries(struct db *db, int n)
{
    int alone = sqlite3_get_autocommit(db->sql);
    if (alone) check_ok(db_begin(db));
    for (int i = 0; i < n; i++) {
        check_ok(db_run(db, "INSERT INTO d(text, secret_column) VALUES(?, ?)",
                        "sb", canary_text, (const void *)canary_text,
                        sizeof canary_text));
        check_ok(db_run(db, "INSERT INTO f(rowid, text) VALUES(?, ?)", "is",
                        (int64_t)sqlite3_last_insert_rowid(db->sql),
                        canary_text));
    }
    if (alone) check_ok(db_commit(db));
}

static int any_canary(const char *folder)
{
    for (size_t i = 0; i < sizeof canaries / sizeof *canaries; i++)
        if (folder_holds(folder, canaries[i], strlen(canaries[i]))) return 1;
    return folder_holds(folder, "secret_column", 13) ||
           folder_holds(folder, "SQLite", 6);
}

static int count_files(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void no_word_stands_in_database_or_log(void **state)
{
    (void)state;
    struct world w;
    world_new(&w);
    check_ok(db_exec(&w.db, canary_schema));
    put_canaries(&w.db, 300);
    assert_int_equal(count_files(w.folder), 3); /* -wal and -shm too */
    assert_false(any_canary(w.folder));
    check_ok(db_exec(&w.db, "PRAGMA wal_checkpoint(TRUNCATE)"));
    assert_false(any_canary(w.folder));
    assert_int_equal(
        world_int(&w, "SELECT count(*) FROM f WHERE f MATCH 'quokkaberry'"),
        300);
    check_ok(db_exec(&w.db, "DELETE FROM d; VACUUM"));
    assert_false(any_canary(w.folder));
    world_free(&w);
}

static void a_plain_store_would_show_them(void **state)
{
    (void)state;
    struct world w;
    struct db plain;
    char path[600];
    world_new(&w);
    snprintf(path, sizeof path, "%s/plain", w.folder);
    check_ok(file_mkdirs(path, 0700));
    snprintf(path, sizeof path, "%s/plain/p.db", w.folder);
    check_ok(db_open(&plain, path, DB_CREATE, NULL, 0));
    check_ok(db_exec(&plain, canary_schema));
    put_canaries(&plain, 3);
    snprintf(path, sizeof path, "%s/plain", w.folder);
    size_t n_shown = 0; /* the index keeps a word's end alone, often */
    for (size_t i = 0; i < sizeof canaries / sizeof *canaries; i++)
        n_shown += (size_t)folder_holds(path, canaries[i], strlen(canaries[i]));
    assert_true(n_shown >= 5);
    db_close(&plain);
    snprintf(path, sizeof path, "%s/plain/p.db", w.folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/plain", w.folder);
    rmdir(path);
    world_free(&w);
}

/* Files that SQLite has unlinked but holds open: temporary ones. */
struct look {
    int n_temporary, n_held;
    int64_t largest;
};

static int look_at_open_files(void *ctx)
{
    struct look *l = ctx;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char link[64], target[512], bytes[1 << 16];
        snprintf(link, sizeof link, "/proc/self/fd/%.20s", e->d_name);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n <= 0) continue;
        target[n] = '\0';
        if (!strstr(target, "(deleted)")) continue;
        int fd = atoi(e->d_name);
        int64_t size = lseek(fd, 0, SEEK_END); /* SQLite uses pread */
        if (size <= 0) continue;
        l->n_temporary++;
        if (size > l->largest) l->largest = size;
        ssize_t got = pread(fd, bytes, sizeof bytes, size / 2);
        if (got > 0 && memmem(bytes, (size_t)got, "kkaberri", 8)) l->n_held++;
        got = pread(fd, bytes, sizeof bytes, 0);
        if (got > 0 && memmem(bytes, (size_t)got, "kkaberri", 8)) l->n_held++;
    }
    closedir(d);
    return 0;
}

static struct look busy_with(struct db *db, const char *sql)
{
    struct look l = {0};
    sqlite3_progress_handler(db->sql, 20000, look_at_open_files, &l);
    check_ok(db_exec(db, sql));
    sqlite3_progress_handler(db->sql, 0, NULL, NULL);
    return l;
}

static void no_word_stands_in_a_temporary_file(void **state)
{
    (void)state;
    static const char *const works[] = {
        /* sorting; a transient table; a statement journal; a vacuum */
        "CREATE INDEX by_text ON d(text, id)",
        "CREATE TEMP TABLE t AS SELECT DISTINCT text || id FROM d",
        "UPDATE d SET id = id + 100000, text = text || id;"
        "UPDATE d SET text = substr(text, 1, 60) || id WHERE id % 2",
        "VACUUM",
    };
    struct world w;
    world_new(&w);
    check_ok(db_exec(&w.db, "PRAGMA cache_size=10; PRAGMA temp_store=FILE;"
                            "PRAGMA synchronous=OFF"));
    check_ok(db_exec(&w.db, "PRAGMA temp.cache_size=10"));
    check_ok(db_exec(&w.db, canary_schema));
    check_ok(db_begin(&w.db));
    put_canaries(&w.db, 20000);
    check_ok(db_commit(&w.db));
    int n_seen = 0;
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        struct look l = busy_with(&w.db, works[i]);
        print_message("%zu: %d looks at temporary files, largest %lld\n", i,
                      l.n_temporary, (long long)l.largest);
        assert_int_equal(l.n_held, 0);
        n_seen += l.largest > 100000;
    }
    assert_true(n_seen >= 3);
    assert_false(any_canary(w.folder));
    world_check(&w.db);
    world_free(&w);
}

static void no_word_stands_in_a_rollback_journal(void **state)
{
    (void)state;
    struct world w;
    world_new(&w);
    check_ok(db_exec(&w.db, canary_schema));
    put_canaries(&w.db, 2000);
    check_ok(db_exec(&w.db, "PRAGMA synchronous=OFF; PRAGMA cache_size=5;"
                            "PRAGMA journal_mode=DELETE"));
    check_ok(db_begin(&w.db));
    check_ok(db_exec(&w.db, "UPDATE d SET text = text || ' again'"));
    assert_int_equal(count_files(w.folder), 2);
    char path[600];
    snprintf(path, sizeof path, "%s-journal", w.path);
    struct buf b;
    buf_init(&b, 0);
    check_ok(file_read(path, 1 << 28, &b));
    assert_true(b.len > 100000);
    buf_release(&b);
    assert_false(any_canary(w.folder));
    db_rollback(&w.db);
    assert_int_equal(
        world_int(&w, "SELECT count(*) FROM d WHERE text LIKE '%again'"), 0);
    world_check(&w.db);
    world_free(&w);
}

/* ---- the rest of SQLite -------------------------------------------------- */

static void every_page_size_is_sealed(void **state)
{
    (void)state;
    for (int size = 1024; size <= 65536; size *= 2) {
        struct world w;
        char sql[64];
        rng_setup();
        memset(&w, 0, sizeof w);
        check_tmpdir(w.folder);
        snprintf(w.path, sizeof w.path, "%s/x.db", w.folder);
        check_ok(sealed_new(w.key, &w.vfs));
        w.door = sealed_door(w.vfs);
        assert_int_equal(sqlite3_open_v2(w.path, &w.db.sql,
                                         SQLITE_OPEN_READWRITE |
                                             SQLITE_OPEN_CREATE,
                                         w.door.name),
                         SQLITE_OK);
        int reserve = w.door.reserve;
        sqlite3_file_control(w.db.sql, "main", SQLITE_FCNTL_RESERVE_BYTES,
                             &reserve);
        snprintf(sql, sizeof sql, "PRAGMA page_size=%d", size);
        check_ok(db_exec(&w.db, sql));
        check_ok(db_exec(&w.db, canary_schema));
        put_canaries(&w.db, 50);
        db_close(&w.db);
        world_open(&w, DB_EXISTING);
        assert_int_equal(world_int(&w, "PRAGMA page_size"), size);
        put_canaries(&w.db, 50);
        assert_int_equal(world_int(&w, "SELECT count(*) FROM d"), 100);
        world_check(&w.db);
        assert_false(any_canary(w.folder));
        world_free(&w);
    }
}

static void a_store_without_room_for_the_seal_is_refused(void **state)
{
    (void)state;
    struct world w;
    sqlite3 *sql = NULL;
    char path[600], text[640];
    world_new(&w);
    snprintf(path, sizeof path, "%s/y.db", w.folder);
    sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                    w.door.name);
    int rc = sqlite3_exec(sql, "CREATE TABLE t(a)", NULL, NULL, NULL);
    assert_int_equal(rc & 0xff, SQLITE_IOERR);
    sqlite3_vfs *vfs = sqlite3_vfs_find(w.door.name);
    vfs->xGetLastError(vfs, sizeof text, text);
    assert_non_null(strstr(text, "reserves 40 bytes"));
    sqlite3_close(sql);
    assert_false(any_canary(w.folder));
    world_free(&w);
}

static void the_page_size_stays_and_nothing_is_mapped(void **state)
{
    (void)state;
    struct world w;
    world_new(&w);
    check_ok(db_exec(&w.db, canary_schema));
    check_err(db_exec(&w.db, "PRAGMA page_size=8192"), TACIT_INTERNAL);
    check_ok(db_exec(&w.db, "PRAGMA mmap_size=100000000"));
    put_canaries(&w.db, 100);
    check_ok(db_exec(&w.db, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)"));
    assert_int_equal(world_int(&w, "SELECT count(*) FROM d"), 100);
    assert_int_equal(world_int(&w, "PRAGMA page_size"), 4096);
    world_free(&w);
}

static void a_backup_is_a_sealed_store_too(void **state)
{
    (void)state;
    struct world w;
    struct db to = {0};
    world_new(&w);
    check_ok(db_exec(&w.db, canary_schema));
    put_canaries(&w.db, 200);
    snprintf(to.path, sizeof to.path, "%s/copy.db", w.folder);
    check_ok(db_open_through(&to, to.path, DB_CREATE, &w.door, NULL, 0));
    sqlite3_backup *b = sqlite3_backup_init(to.sql, "main", w.db.sql, "main");
    assert_non_null(b);
    while (sqlite3_backup_step(b, 7) == SQLITE_OK) continue;
    assert_int_equal(sqlite3_backup_finish(b), SQLITE_OK);
    assert_false(any_canary(w.folder));
    world_check(&to);
    assert_int_equal(sum_of(&to, "SELECT count(*) FROM d"), 200);
    db_close(&to);
    world_free(&w);
}

static void another_store_is_attached_and_changes_with_this_one(void **state)
{
    (void)state;
    struct world w;
    struct db other;
    char path[600], sql[800];
    world_new(&w);
    snprintf(path, sizeof path, "%s/other.db", w.folder);
    check_ok(db_open_through(&other, path, DB_CREATE, &w.door, NULL, 0));
    check_ok(db_exec(&other, "CREATE TABLE o(a); PRAGMA journal_mode=DELETE"));
    db_close(&other);
    check_ok(db_exec(&w.db, "CREATE TABLE o(a); PRAGMA journal_mode=DELETE"));
    snprintf(sql, sizeof sql, "ATTACH '%s' AS other", path);
    check_ok(db_exec(&w.db, sql));
    check_ok(db_exec(&w.db, "BEGIN; INSERT INTO main.o VALUES('Quokkaberries');"
                            "INSERT INTO other.o SELECT a FROM main.o;"
                            "COMMIT"));
    assert_int_equal(world_int(&w, "SELECT count(*) FROM other.o"), 1);
    assert_false(any_canary(w.folder));
    world_free(&w);
}

static void a_copy_goes_from_plain_to_sealed_and_back(void **state)
{
    (void)state;
    struct world w;
    struct db plain, back;
    char a[600], b[600], c[600];
    world_new(&w);
    snprintf(a, sizeof a, "%s/it's 100%% #plain?.db", w.folder);
    snprintf(b, sizeof b, "%s/sealed & so on.db", w.folder);
    snprintf(c, sizeof c, "%s/plain again.db", w.folder);
    check_ok(db_open(&plain, a, DB_CREATE, NULL, 0));
    check_ok(db_exec(&plain, canary_schema));
    put_canaries(&plain, 500);
    check_ok(db_exec(&plain, "PRAGMA user_version=7"));
    db_close(&plain);
    check_ok(db_copy(a, NULL, b, &w.door));
    unlink(a);
    assert_false(any_canary(w.folder));
    check_err(db_copy(b, &w.door, b, NULL), TACIT_IO); /* it is there */
    check_ok(db_copy(b, &w.door, c, NULL));
    const char *const steps[] = {"", "", "", "", "", "", ""};
    check_ok(db_open(&back, c, DB_EXISTING, steps, 7));
    assert_int_equal(sum_of(&back, "SELECT count(*) FROM d"), 500);
    assert_int_equal(
        sum_of(&back, "SELECT count(*) FROM f WHERE f MATCH 'quokkaberry'"),
        500);
    check_ok(db_exec(&back, "INSERT INTO f(f, rank)"
                            " VALUES('integrity-check', 1)"));
    db_close(&back);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_give_the_rows_of_a_plain_store),
        cmocka_unit_test(so_they_do_with_a_rollback_journal),
        cmocka_unit_test(no_word_stands_in_database_or_log),
        cmocka_unit_test(a_plain_store_would_show_them),
        cmocka_unit_test(no_word_stands_in_a_temporary_file),
        cmocka_unit_test(no_word_stands_in_a_rollback_journal),
        cmocka_unit_test(every_page_size_is_sealed),
        cmocka_unit_test(a_store_without_room_for_the_seal_is_refused),
        cmocka_unit_test(the_page_size_stays_and_nothing_is_mapped),
        cmocka_unit_test(a_backup_is_a_sealed_store_too),
        cmocka_unit_test(another_store_is_attached_and_changes_with_this_one),
        cmocka_unit_test(a_copy_goes_from_plain_to_sealed_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
