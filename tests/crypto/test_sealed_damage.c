/* The sealed store in other hands: changed bytes, moved pages, wrong keys,
 * processes that die. A store gives the rows that were written, or an error
 * that names it; never other rows, and never a crash. */
#include "tests/check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "tests/crypto/sealed_world.h"

enum { ROWS = 40, PAGE = 1024, HEAD = 4096, HEAD_USED = 128 };

/* Every row stands in the sum, and where it lies. */
static const char sum_sql[] =
    "SELECT coalesce(sum(id * 7919 + length(text) * 31 + "
    "unicode(substr(text, 9, 1)) + unicode(substr(text, -7, 1))), 0) FROM d";

static void fill(struct world *w, const char *mode, int n)
{
    char sql[200];
    check_ok(db_exec(&w->db, "CREATE TABLE d(id INTEGER PRIMARY KEY, text);"
                             "CREATE INDEX d_text ON d(text);"
                             "CREATE VIRTUAL TABLE f USING fts5(text)"));
    check_ok(db_begin(&w->db));
    for (int i = 0; i < n; i++) {
        char text[600];
        snprintf(text, sizeof text, "row %d %0*d end %c of it", i,
                 i % 9 ? 60 : 500, i, 'a' + i % 26);
        check_ok(db_run(&w->db, "INSERT INTO d(text) VALUES(?)", "s", text));
        check_ok(db_run(&w->db, "INSERT INTO f(text) VALUES(?)", "s", text));
    }
    check_ok(db_commit(&w->db));
    snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s", mode);
    check_ok(db_exec(&w->db, sql));
}

/* A store of small pages, so that there are many kinds of them. */
static void small_new(struct world *w)
{
    int reserve = SEALED_RESERVE;
    rng_setup();
    memset(w, 0, sizeof *w);
    check_tmpdir(w->folder);
    snprintf(w->path, sizeof w->path, "%s/tacit.db", w->folder);
    check_ok(sealed_new(w->key, &w->vfs));
    w->door = sealed_door(w->vfs);
    assert_int_equal(sqlite3_open_v2(w->path, &w->db.sql,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                     w->door.name),
                     SQLITE_OK);
    snprintf(w->db.path, sizeof w->db.path, "%s", w->path);
    snprintf(w->db.vfs, sizeof w->db.vfs, "%s", w->door.name);
    sqlite3_extended_result_codes(w->db.sql, 1);
    sqlite3_file_control(w->db.sql, "main", SQLITE_FCNTL_RESERVE_BYTES,
                         &reserve);
    check_ok(db_exec(&w->db, "PRAGMA page_size=1024; PRAGMA synchronous=OFF"));
}

static void read_all(const char *path, struct buf *b)
{
    buf_init(b, 0);
    check_ok(file_read(path, (size_t)1 << 28, b));
}

static void write_all(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* What all of the store reads as: 0 and its sum, or the error's code. */
static unsigned read_store(struct world *w, int64_t *sum)
{
    struct db db;
    int64_t words = 0;
    enum tacit_err err = db_open_through(&db, w->path, DB_READONLY, &w->door,
                                         (const char *const[]){""}, 1);
    if (!err) {
        err = db_int(&db, sum, sum_sql, "");
        if (!err)
            err = db_int(&db, &words,
                         "SELECT count(*) FROM f WHERE f MATCH 'row'", "");
        if (!err) *sum += words;
        if (!err)
            err = db_int(&db, &words,
                         "SELECT count(*) FROM d INDEXED BY d_text"
                         " WHERE text >= ''",
                         "");
        if (!err) *sum += words * 1000003;
        db_close(&db);
    }
    unsigned id = err ? err_id() : 0;
    err_clear();
    return id;
}

/* ---- the file of the database ------------------------------------------- */

static void every_changed_byte_is_found_or_harmless(void **state)
{
    (void)state;
    struct world w;
    struct buf whole;
    int64_t right = 0, sum = 0;
    size_t n_found = 0, n_harmless = 0;
    small_new(&w);
    fill(&w, "DELETE", ROWS);
    db_close(&w.db);
    assert_int_equal(read_store(&w, &right), 0);
    read_all(w.path, &whole);
    int fd = open(w.path, O_RDWR);
    assert_true(fd >= 0);
    for (size_t i = 0; i < whole.len; i++) {
        if (i >= HEAD_USED && i < HEAD && i % 61) continue; /* zeros */
        if (i >= HEAD && i % 7 && i % PAGE > 8 && i % PAGE < PAGE - 48)
            continue; /* of what is sealed alike, each seventh byte */
        uint8_t b = whole.data[i] ^ (uint8_t)(1u << (i % 8));
        assert_int_equal(pwrite(fd, &b, 1, (off_t)i), 1);
        unsigned id = read_store(&w, &sum);
        n_found += id != 0;
        n_harmless += id == 0;
        if (id == 0) assert_int_equal(sum, right);
        if (id != 0 && id != E_STORE_DAMAGED && id != E_STORE_KEY)
            fail_msg("byte %zu: error %u", i, id);
        if (id == 0 && i < HEAD_USED) fail_msg("byte %zu of the header", i);
        assert_int_equal(pwrite(fd, &whole.data[i], 1, (off_t)i), 1);
    }
    close(fd);
    print_message("%zu bytes: %zu changes found, %zu harmless\n", whole.len,
                  n_found, n_harmless);
    assert_true(n_found > whole.len / 10);
    assert_int_equal(read_store(&w, &sum), 0);
    assert_int_equal(sum, right);
    buf_release(&whole);
    world_free(&w);
}

static void the_error_names_file_and_page(void **state)
{
    (void)state;
    struct world w;
    struct buf whole;
    small_new(&w);
    fill(&w, "DELETE", ROWS);
    db_close(&w.db);
    read_all(w.path, &whole);
    whole.data[HEAD + PAGE + 17] ^= 1; /* page 2 */
    write_all(w.path, whole.data, whole.len);
    world_open(&w, DB_EXISTING);
    int64_t n = 0;
    assert_int_equal(db_int(&w.db, &n, sum_sql, ""), TACIT_FORMAT);
    assert_int_equal(err_id(), E_STORE_DAMAGED);
    assert_non_null(strstr(err_message(), "tacit.db: page 2 was changed"));
    err_clear();
    buf_release(&whole);
    world_free(&w);
}

static void pages_belong_to_their_place_and_store(void **state)
{
    (void)state;
    struct world w, other;
    struct buf a, b;
    int64_t right = 0, sum = 0;
    small_new(&w);
    fill(&w, "DELETE", ROWS);
    db_close(&w.db);
    small_new(&other); /* the same key, another salt */
    fill(&other, "DELETE", ROWS);
    db_close(&other.db);
    assert_int_equal(read_store(&w, &right), 0);
    read_all(w.path, &a);
    read_all(other.path, &b);
    size_t n = (a.len - HEAD) / PAGE;
    uint8_t *bytes = malloc(a.len);
    assert_non_null(bytes);
    size_t n_found = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        uint8_t *page = bytes + HEAD + i * PAGE;
        memcpy(bytes, a.data, a.len); /* two change places */
        memcpy(page, a.data + HEAD + (i + 1) * PAGE, PAGE);
        memcpy(page + PAGE, a.data + HEAD + i * PAGE, PAGE);
        write_all(w.path, bytes, a.len);
        unsigned id = read_store(&w, &sum);
        assert_true(id == E_STORE_DAMAGED || (id == 0 && sum == right));
        n_found += id != 0;
        memcpy(bytes, a.data, a.len); /* one of the other store */
        memcpy(page, b.data + HEAD + i * PAGE, PAGE);
        write_all(w.path, bytes, a.len);
        id = read_store(&w, &sum);
        assert_true(id == E_STORE_DAMAGED || (id == 0 && sum == right));
        memset(page, 0, PAGE); /* a hole */
        write_all(w.path, bytes, a.len);
        id = read_store(&w, &sum);
        assert_true(id == E_STORE_DAMAGED || (id == 0 && sum == right));
    }
    assert_true(n_found * 2 > n);
    free(bytes);
    buf_release(&a);
    buf_release(&b);
    world_free(&other);
    world_free(&w);
}

static void a_store_that_is_cut_short_is_damaged(void **state)
{
    (void)state;
    struct world w;
    struct buf a;
    int64_t sum = 0;
    small_new(&w);
    fill(&w, "DELETE", ROWS);
    db_close(&w.db);
    read_all(w.path, &a);
    for (size_t n = 0; n < a.len; n += n < HEAD ? 512 : PAGE / 2) {
        write_all(w.path, a.data, n);
        assert_int_equal(read_store(&w, &sum), E_STORE_DAMAGED);
    }
    write_all(w.path, a.data, a.len);
    assert_int_equal(read_store(&w, &sum), 0);
    buf_release(&a);
    world_free(&w);
}

/* ---- keys --------------------------------------------------------------- */

static void another_key_is_said_to_be_one(void **state)
{
    (void)state;
    struct world w;
    struct sealed_vfs *other;
    struct db db;
    struct buf before, after;
    world_new(&w);
    fill(&w, "WAL", ROWS);
    db_close(&w.db);
    read_all(w.path, &before);
    w.key[0] ^= 1;
    check_ok(sealed_new(w.key, &other));
    struct db_vfs door = sealed_door(other);
    check_code(sealed_try(other, w.path), E_STORE_KEY);
    check_code(db_open_through(&db, w.path, DB_EXISTING, &door, NULL, 0),
               E_STORE_KEY);
    check_code(db_open_through(&db, w.path, DB_CREATE, &door, NULL, 0),
               E_STORE_KEY);
    check_ok(sealed_try(w.vfs, w.path));
    read_all(w.path, &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, after.len);
    buf_release(&before);
    buf_release(&after);
    sealed_free(other);
    world_free(&w);
}

static void plain_and_sealed_stores_are_told_apart(void **state)
{
    (void)state;
    struct world w;
    struct db db;
    enum sealed_look is;
    char path[600];
    world_new(&w);
    fill(&w, "WAL", 3);
    db_close(&w.db);
    check_code(db_open(&db, w.path, DB_EXISTING, NULL, 0), E_STORE_DAMAGED);
    check_ok(sealed_look(w.path, &is));
    assert_int_equal(is, SEALED_STORE);
    snprintf(path, sizeof path, "%s/plain.db", w.folder);
    check_ok(sealed_look(path, &is));
    assert_int_equal(is, SEALED_ABSENT);
    check_ok(db_open(&db, path, DB_CREATE, NULL, 0));
    check_ok(db_exec(&db, "CREATE TABLE t(a)"));
    db_close(&db);
    check_ok(sealed_look(path, &is));
    assert_int_equal(is, SEALED_PLAIN);
    check_code(db_open_through(&db, path, DB_EXISTING, &w.door, NULL, 0),
               E_STORE_DAMAGED);
    write_all(path, "a short text that is no store", 29);
    check_code(db_open_through(&db, path, DB_CREATE, &w.door, NULL, 0),
               E_STORE_DAMAGED);
    assert_true(file_holds(path, "a short text that is no store", 29));
    write_all(path, "", 0);
    check_ok(sealed_look(path, &is));
    assert_int_equal(is, SEALED_EMPTY);
    world_free(&w);
}

/* ---- the log ------------------------------------------------------------ */

/* A store as a power cut leaves it: rows in the database, more in the log. */
static void leave_a_log(struct world *w, struct buf *db, struct buf *wal)
{
    char path[600];
    small_new(w);
    fill(w, "WAL", 12);
    check_ok(db_exec(&w->db, "PRAGMA wal_checkpoint(TRUNCATE);"
                             "PRAGMA wal_autocheckpoint=0"));
    for (int i = 0; i < 4; i++) {
        check_ok(db_exec(&w->db, "INSERT INTO d(text) SELECT 'row more ' ||"
                                 " hex(randomblob(20)) FROM d LIMIT 3"));
        check_ok(db_exec(&w->db, "INSERT INTO f(text) VALUES('row more')"));
    }
    snprintf(path, sizeof path, "%s-wal", w->path);
    read_all(w->path, db);
    read_all(path, wal);
}

static void a_changed_log_gives_a_committed_state_or_an_error(void **state)
{
    (void)state;
    struct world w, copy;
    struct buf db, wal;
    char path[600], shm[600];
    int64_t states[12], sum = 0;
    size_t n_states = 0, n_found = 0, n_last = 0;
    leave_a_log(&w, &db, &wal);
    copy = w;
    snprintf(copy.path, sizeof copy.path, "%s/copy.db", w.folder);
    snprintf(path, sizeof path, "%s-wal", copy.path);
    snprintf(shm, sizeof shm, "%s-shm", copy.path);
    /* Every state that was ever committed: the log, cut at each frame. */
    const size_t frame = PAGE + 64;
    for (size_t n = 128; n <= wal.len; n += frame) {
        write_all(copy.path, db.data, db.len);
        write_all(path, wal.data, n);
        unlink(shm);
        assert_int_equal(read_store(&copy, &sum), 0);
        if (n_states == 0 || states[n_states - 1] != sum)
            states[n_states++] = sum;
        assert_true(n_states < 12);
    }
    assert_true(n_states >= 5);
    for (size_t i = 0; i < wal.len; i += 5) {
        write_all(copy.path, db.data, db.len);
        wal.data[i] ^= (uint8_t)(1u << (i % 8));
        write_all(path, wal.data, wal.len);
        wal.data[i] ^= (uint8_t)(1u << (i % 8));
        unlink(shm);
        unsigned id = read_store(&copy, &sum);
        size_t k = 0;
        while (k < n_states && states[k] != sum) k++;
        if (id == 0 && k == n_states) fail_msg("byte %zu: other rows", i);
        if (id != 0 && id != E_STORE_DAMAGED)
            fail_msg("byte %zu: error %u", i, id);
        n_found += id != 0 || k + 1 < n_states;
        n_last += id == 0 && k + 1 == n_states;
    }
    print_message("%zu states; %zu changes found, %zu of no account\n",
                  n_states, n_found, n_last);
    assert_true(n_found > n_last);
    buf_release(&db);
    buf_release(&wal);
    world_free(&w);
}

static void a_frame_that_changes_while_it_is_read_is_an_error(void **state)
{
    (void)state;
    struct world w;
    struct buf db, wal;
    char path[600];
    int64_t n = 0;
    leave_a_log(&w, &db, &wal);
    snprintf(path, sizeof path, "%s-wal", w.path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (size_t i = 128 + 64 + 100; i < wal.len; i += PAGE + 64) {
        uint8_t b = wal.data[i] ^ 8;
        assert_int_equal(pwrite(fd, &b, 1, (off_t)i), 1);
    }
    close(fd);
    sqlite3_db_release_memory(w.db.sql);
    struct db second;
    enum tacit_err err =
        db_open_through(&second, w.path, DB_EXISTING, &w.door, NULL, 0);
    if (!err) err = db_int(&second, &n, sum_sql, "");
    assert_int_equal(err, TACIT_FORMAT);
    assert_int_equal(err_id(), E_STORE_DAMAGED);
    assert_non_null(strstr(err_message(), "the page of frame"));
    err_clear();
    buf_release(&db);
    buf_release(&wal);
    world_free(&w);
}

/* ---- the journal -------------------------------------------------------- */

static void a_hot_journal_is_played_back(void **state)
{
    (void)state;
    struct world w, copy;
    struct buf db, journal;
    char path[600];
    int64_t before = 0, sum = 0;
    small_new(&w);
    fill(&w, "DELETE", ROWS);
    assert_int_equal(read_store(&w, &before), 0);
    check_ok(db_exec(&w.db, "PRAGMA synchronous=FULL; PRAGMA cache_size=2;"
                            "BEGIN; UPDATE d SET text = text || id;"
                            "DELETE FROM f WHERE rowid % 3"));
    snprintf(path, sizeof path, "%s-journal", w.path);
    read_all(w.path, &db);
    read_all(path, &journal);
    assert_true(journal.len > (size_t)4 * PAGE);
    copy = w;
    snprintf(copy.path, sizeof copy.path, "%s/copy.db", w.folder);
    snprintf(path, sizeof path, "%s-journal", copy.path);
    size_t n_found = 0;
    /* Whole; then with a byte of each page of it changed. */
    for (size_t i = 0; i < journal.len; i = i ? i + 211 : 600) {
        int in_page = i >= 512 && (i - 512) % (PAGE + 8) >= 4 &&
                      (i - 512) % (PAGE + 8) < PAGE + 4;
        if (i && !in_page) continue;
        write_all(copy.path, db.data, db.len);
        if (i) journal.data[i] ^= 4;
        write_all(path, journal.data, journal.len);
        if (i) journal.data[i] ^= 4;
        struct db again;
        enum tacit_err err =
            db_open_through(&again, copy.path, DB_EXISTING, &w.door, NULL, 0);
        if (!err) db_close(&again);
        unsigned id = err ? err_id() : 0;
        err_clear();
        if (i == 0) assert_int_equal(id, 0);
        if (id == 0) {
            assert_int_equal(read_store(&copy, &sum), 0);
            if (i == 0) assert_int_equal(sum, before);
        } else {
            assert_int_equal(id, E_STORE_DAMAGED);
            n_found++;
        }
    }
    print_message("%zu changes of the journal found\n", n_found);
    assert_true(n_found > 10);
    db_rollback(&w.db);
    buf_release(&db);
    buf_release(&journal);
    world_free(&w);
}

/* The head of a journal says how many pages the store had; it is not sealed. */
static void a_journal_cannot_make_the_store_grow(void **state)
{
    (void)state;
    enum { AT_PAGES = 16 };
    struct world w, copy;
    struct buf db, journal;
    char path[600];
    struct stat st;
    small_new(&w);
    fill(&w, "DELETE", ROWS);
    check_ok(db_exec(&w.db, "PRAGMA synchronous=FULL; PRAGMA cache_size=2;"
                            "BEGIN; UPDATE d SET text = text || id"));
    snprintf(path, sizeof path, "%s-journal", w.path);
    read_all(w.path, &db);
    read_all(path, &journal);
    copy = w;
    snprintf(copy.path, sizeof copy.path, "%s/copy.db", w.folder);
    snprintf(path, sizeof path, "%s-journal", copy.path);
    write_all(copy.path, db.data, db.len);
    memcpy(journal.data + AT_PAGES, "\0\x10\0", 4); /* 1 GiB of them */
    write_all(path, journal.data, journal.len);
    struct db again;
    enum tacit_err err =
        db_open_through(&again, copy.path, DB_EXISTING, &w.door, NULL, 0);
    assert_int_not_equal(err, TACIT_OK);
    assert_int_equal(err_id(), E_STORE_DAMAGED);
    assert_int_equal(stat(copy.path, &st), 0);
    assert_true((size_t)st.st_size <= db.len);
    db_rollback(&w.db);
    buf_release(&db);
    buf_release(&journal);
    world_free(&w);
}

/* ---- several processes, and processes that die -------------------------- */

/* Adds pairs of rows that belong together, for ever. */
static _Noreturn void work(struct world *w, unsigned seed)
{
    struct rng r;
    rng_init(&r, seed, 5, 0);
    if (db_open_through(&w->db, w->path, DB_EXISTING, &w->door, NULL, 0))
        _exit(2);
    if (db_exec(&w->db, "PRAGMA synchronous=OFF; PRAGMA cache_size=3;"
                        "PRAGMA wal_autocheckpoint=20"))
        _exit(3);
    for (int i = 0;; i++) {
        char sql[300];
        unsigned n = (unsigned)rng_below(&r, 3000);
        snprintf(sql, sizeof sql,
                 "BEGIN IMMEDIATE; INSERT INTO a(x) VALUES(zeroblob(%u));"
                 "INSERT INTO b SELECT max(id), %u FROM a;"
                 "DELETE FROM a WHERE id %% 13 = %u;"
                 "DELETE FROM b WHERE id %% 13 = %u; COMMIT%s",
                 n, n, n % 13, n % 13, n % 40 == 7 ? "; VACUUM" : "");
        if (db_exec(&w->db, sql)) {
            if (err_id() != E_STORE_BUSY) _exit(4);
            err_clear();
            db_rollback(&w->db);
        }
    }
}

static pid_t start(struct world *w, unsigned seed)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) work(w, seed);
    return child;
}

static void nap_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) continue;
}

static void stop(pid_t child)
{
    int status;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status)); /* it had not given up before */
}

static const char fits_sql[] =
    "SELECT (SELECT count(*) FROM a) = (SELECT count(*) FROM b) AND NOT EXISTS"
    " (SELECT 1 FROM a JOIN b USING(id) WHERE length(a.x) <> b.n)";

static void crashes(unsigned n_kills, int n_workers)
{
    struct world w;
    struct rng r;
    int64_t most = 0, n;
    world_new(&w);
    rng_init(&r, 77, (uint64_t)n_workers, 0);
    check_ok(db_exec(&w.db, "CREATE TABLE a(id INTEGER PRIMARY KEY"
                            " AUTOINCREMENT, x BLOB);"
                            "CREATE TABLE b(id INTEGER PRIMARY KEY, n)"));
    db_close(&w.db);
    for (unsigned k = 0; k < n_kills; k++) {
        pid_t children[2] = {0};
        for (int i = 0; i < n_workers; i++)
            children[i] = start(&w, 100 * k + (unsigned)i + 1);
        nap_ms(5 + (long)rng_below(&r, 60));
        for (int i = 0; i < n_workers; i++) {
            if (n_workers > 1) { /* read beside the others */
                world_open(&w, DB_EXISTING);
                assert_int_equal(world_int(&w, fits_sql), 1);
                db_close(&w.db);
            }
            stop(children[i]);
        }
        world_open(&w, DB_EXISTING);
        world_check(&w.db);
        assert_int_equal(world_int(&w, fits_sql), 1);
        n = world_int(&w, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence");
        assert_true(n >= most); /* nothing committed is lost */
        most = n;
        db_close(&w.db);
    }
    print_message("%u kills, %lld transactions\n", n_kills, (long long)most);
    assert_true(most > 20);
    world_open(&w, DB_EXISTING);
    world_free(&w);
}

static void a_process_that_is_killed_leaves_a_whole_store(void **state)
{
    (void)state;
    crashes(60, 1);
}

static void two_processes_write_one_store(void **state)
{
    (void)state;
    crashes(8, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_changed_byte_is_found_or_harmless),
        cmocka_unit_test(the_error_names_file_and_page),
        cmocka_unit_test(pages_belong_to_their_place_and_store),
        cmocka_unit_test(a_store_that_is_cut_short_is_damaged),
        cmocka_unit_test(another_key_is_said_to_be_one),
        cmocka_unit_test(plain_and_sealed_stores_are_told_apart),
        cmocka_unit_test(a_changed_log_gives_a_committed_state_or_an_error),
        cmocka_unit_test(a_frame_that_changes_while_it_is_read_is_an_error),
        cmocka_unit_test(a_hot_journal_is_played_back),
        cmocka_unit_test(a_journal_cannot_make_the_store_grow),
        cmocka_unit_test(a_process_that_is_killed_leaves_a_whole_store),
        cmocka_unit_test(two_processes_write_one_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
