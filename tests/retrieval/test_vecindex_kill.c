/*
 * A process that is killed while it inserts, at KILLS random points: index and
 * rows agree after reopening, every time.
 *
 * A child inserts (and now and then deletes and replaces) vectors in short
 * transactions and logs their ids beside them in an ordinary table; it is
 * killed (SIGKILL) after a drawn time. Then the file is opened here: the log
 * names just the rows that are there, the index is sound, nothing is locked.
 * The first lives are over while the table is one list, the last amid splits.
 */
#include "tests/retrieval/vectable.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILLS = 200, DIM = 24, BATCH_MAX = 40 };
enum { LIFE_US = 12000, LIFE_US_MIN = 1000, LIFE_US_MAX = 1000000 };

static void write_batch(sqlite3 *db, struct rng *rng)
{
    char sql[160];
    float v[DIM];
    vectable_run(db, "BEGIN IMMEDIATE");
    int n = 1 + (int)rng_below(rng, BATCH_MAX);
    for (int i = 0; i < n; i++) {
        float centre = (float)rng_below(rng, 30);
        for (int k = 0; k < DIM; k++)
            v[k] = rng_normal(rng) + centre * (float)(k % 5);
        snprintf(sql, sizeof sql, "INSERT INTO v(e, who) VALUES (?1, %llu)",
                 (unsigned long long)rng_below(rng, 3));
        vectable_bind(db, sql, v, DIM);
        vectable_run(db, "INSERT INTO log VALUES (last_insert_rowid())");
    }
    if (rng_below(rng, 3) == 0) {
        unsigned long long r = rng_below(rng, 17);
        snprintf(sql, sizeof sql,
                 "DELETE FROM v WHERE rowid %% 17 = %llu AND rowid < 3000;"
                 "DELETE FROM log WHERE id %% 17 = %llu AND id < 3000",
                 r, r);
        vectable_run(db, sql);
    }
    vectable_run(db, "COMMIT");
}

static _Noreturn void work(const char *path, unsigned seed, int ready)
{
    struct rng rng;
    sqlite3 *db = vectable_open(path);
    rng_init(&rng, seed, 1, 0);
    vectable_run(db,
                 "PRAGMA synchronous = off; PRAGMA wal_autocheckpoint = 50");
    if (write(ready, "r", 1) != 1) _exit(2);
    for (;;) write_batch(db, &rng);
}

static void live_and_die(const char *path, unsigned seed, long life_us)
{
    struct rng rng;
    int ready[2], status;
    char c;
    rng_init(&rng, seed, 2, 0);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) work(path, seed, ready[1]);
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    struct timespec life = {
        .tv_nsec = 1000 * (long)rng_below(&rng, (uint64_t)life_us)};
    while (nanosleep(&life, &life) != 0 && errno == EINTR) continue;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Lives as long as this machine needs for two in three to end behind a commit,
 * after one in which the highest id grew by so much. */
static long adjust_life(long us, int64_t gained)
{
    us += gained ? -us / 32 : us / 16;
    if (us < LIFE_US_MIN) return LIFE_US_MIN;
    return us < LIFE_US_MAX ? us : LIFE_US_MAX;
}

static void index_and_rows_agree_wherever_an_insert_is_killed(void **state)
{
    char folder[256], path[300];
    int64_t last = -1, rows = 0;
    int n_changed = 0;
    long life_us = LIFE_US;
    (void)state;
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/v.db", folder);
    sqlite3 *db = vectable_open(path);
    vectable_run(db, "PRAGMA journal_mode = wal");
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[24]"
                     " metric=l2, who int filter)");
    vectable_run(db, "CREATE TABLE log(id INTEGER PRIMARY KEY)");
    sqlite3_close(db);
    for (unsigned seed = 1; seed <= KILLS; seed++) {
        live_and_die(path, seed, life_us);
        db = vectable_open(path);
        vectable_is(db,
                    "SELECT count(*) FROM (SELECT rowid FROM v EXCEPT SELECT"
                    " id FROM log UNION ALL SELECT id FROM log EXCEPT SELECT"
                    " rowid FROM v)",
                    "0");
        vectable_is(db,
                    "SELECT (SELECT count(*) FROM v) - (SELECT count(*)"
                    " FROM log)",
                    "0");
        vectable_sound(db, "main");
        vectable_checkpoint(db);
        rows = vectable_int(db, "SELECT total FROM (SELECT count(*) AS total,"
                                " max(id) FROM log)");
        int64_t highest = vectable_int(db, "SELECT max(id) FROM log");
        n_changed += highest != last;
        life_us = adjust_life(life_us, highest - last);
        last = highest;
        sqlite3_close(db);
    }
    print_message("%d kills, %d behind a commit, %lld rows at the end\n", KILLS,
                  n_changed, (long long)rows);
    assert_true(n_changed > KILLS / 4);
    check_tmpdir_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_and_rows_agree_wherever_an_insert_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
