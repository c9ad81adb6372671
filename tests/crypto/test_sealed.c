/* The sealed store: SQLite as ever for those who hold the key, noise for all
 * others. test_sealed_damage.c has changed bytes, wrong keys and crashes. */
#include "tests/check.h"

#include <dlfcn.h>
#include <unistd.h>

#include "tests/crypto/sealed_world.h"

/* ---- the same rows as in a plain store ----------------------------------- */

enum { OPERATIONS = 600, ROWS_MAX = 400 };

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_give_the_rows_of_a_plain_store),
        cmocka_unit_test(so_they_do_with_a_rollback_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
