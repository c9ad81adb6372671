/* What the first search of a connection asks the disk for before it reads it:
 * the file's methods are watched, and its map is memory that must not be looked
 * into. */
#include "tests/retrieval/vectable.h"

#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DIM = 16, ROWS = 12000, PAGE = 512, PAGES = 1 << 16 };

#define CREATE                                                                 \
 "PRAGMA page_size = 512; CREATE VIRTUAL TABLE v USING tacit_vec("             \
 "e float[16] metric=cosine, dept int filter)"
/* Of rows in 3,000 clusters, so that many lists are read. */
#define NEAREST                                                                \
 "SELECT group_concat(rowid), group_concat(distance) FROM (SELECT rowid,"      \
 " distance FROM v WHERE e MATCH '[1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8]'"          \
 " AND k = 10)"
#define OTHER                                                                  \
 "SELECT count(*) FROM v WHERE e MATCH '[8,1,7,1,6,1,5,1,4,1,3,1,2,1,1,1]'"    \
 " AND k = 10"

static struct {
    sqlite3_io_methods methods;
    const sqlite3_io_methods *real;
    uint8_t *map; /* [PAGES, PAGE] NULL = the file has none */
    bool asked[PAGES], read[PAGES];
    size_t n_asked, n_read, n_unasked; /* pages; read without being asked for */
} spy;

static int spy_read(sqlite3_file *f, void *out, int n, sqlite3_int64 at)
{
    size_t page = (size_t)at / PAGE;
    if (n == PAGE && page < PAGES && !spy.read[page]) {
        spy.read[page] = true;
        spy.n_read++;
        spy.n_unasked += !spy.asked[page];
    }
    return spy.real->xRead(f, out, n, at);
}

static int spy_fetch(sqlite3_file *f, sqlite3_int64 at, int n, void **out)
{
    size_t page = (size_t)at / PAGE;
    (void)f;
    *out = NULL;
    if (!spy.map || page >= PAGES) return SQLITE_OK;
    assert_int_equal(n, PAGE);
    spy.n_asked += !spy.asked[page];
    spy.asked[page] = true;
    *out = spy.map + at;
    return SQLITE_OK;
}

static int spy_unfetch(sqlite3_file *f, sqlite3_int64 at, void *p)
{
    (void)f;
    if (p) assert_ptr_equal(p, spy.map + at);
    return SQLITE_OK;
}

/* What the file's own code allows to be mapped. */
static int64_t mapped(sqlite3 *db)
{
    sqlite3_int64 limit = -1;
    assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_MMAP_SIZE,
                                          &limit),
                     SQLITE_OK);
    return limit;
}

static sqlite3 *spied(const char *path, void *map)
{
    sqlite3 *db = vectable_open(path);
    sqlite3_file *file;
    memset(&spy, 0, sizeof spy);
    vectable_run(db, "PRAGMA cache_size = 20000; SELECT count(*) FROM v_info");
    assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER,
                                          &file),
                     SQLITE_OK);
    spy.map = map;
    spy.real = file->pMethods;
    spy.methods = *spy.real;
    spy.methods.xRead = spy_read;
    spy.methods.xFetch = spy_fetch;
    spy.methods.xUnfetch = spy_unfetch;
    file->pMethods = &spy.methods;
    return db;
}

static void *memory(int protection)
{
    void *p = mmap(NULL, (size_t)PAGES * PAGE, protection,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    return p;
}

static void fill(const char *path)
{
    sqlite3 *db = vectable_open(path);
    struct rng rng;
    rng_init(&rng, 5, 1, 0);
    vectable_run(db, CREATE);
    vectable_run(db, "BEGIN");
    for (int i = 1; i <= ROWS; i++) {
        uint64_t cluster = rng_below(&rng, 3000);
        char sql[80];
        float v[DIM];
        for (int k = 0; k < DIM; k++)
            v[k] = rng_normal(&rng) * 0.4F +
                   2 * sinf((float)(cluster * (uint64_t)(2 * k + 1)));
        snprintf(sql, sizeof sql,
                 "INSERT INTO v(rowid, e, dept) VALUES (%d, ?, %d)", i,
                 i % 100);
        vectable_bind(db, sql, v, DIM);
    }
    vectable_run(db, "COMMIT");
    sqlite3_close(db);
}

/* A table of many lists, made once. */
static const char *table(void)
{
    static char folder[256], path[300];
    if (path[0]) return path;
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/v.db", folder);
    fill(path);
    return path;
}

static void a_first_search_asks_for_what_it_reads(void **state)
{
    char want[1024];
    void *map = memory(PROT_NONE);
    sqlite3 *db = vectable_open(table());
    (void)state;
    snprintf(want, sizeof want, "%s", vectable_text(db, NEAREST));
    sqlite3_close(db);
    db = spied(table(), map);
    vectable_is(db, NEAREST, want);
    print_message("%zu pages read, %zu of them not asked for; %zu asked for\n",
                  spy.n_read, spy.n_unasked, spy.n_asked);
    assert_true(spy.n_read > 200);
    assert_true(spy.n_unasked * 10 < spy.n_read);
    assert_true(spy.n_asked < spy.n_read * 3 / 2);
    assert_int_equal(mapped(db), 0);
    size_t asked = spy.n_asked;
    vectable_is(db, OTHER, "10");
    assert_int_equal(spy.n_asked, asked);
    sqlite3_close(db);
    munmap(map, (size_t)PAGES * PAGE);
}

static void what_memory_has_is_not_asked_for(void **state)
{
    void *map = memory(PROT_READ | PROT_WRITE);
    sqlite3 *db = spied(table(), map);
    (void)state;
    memset(map, 1, (size_t)PAGES * PAGE);
    vectable_is(db, OTHER, "10");
    size_t all = spy.n_read;
    print_message("%zu pages read, %zu looked for\n", all, spy.n_asked);
    assert_true(spy.n_asked > 0 && spy.n_asked * 2 < all);
    sqlite3_close(db);
    munmap(map, (size_t)PAGES * PAGE);
}

static void without_a_map_a_search_is_as_ever(void **state)
{
    sqlite3 *db = spied(table(), NULL);
    (void)state;
    vectable_is(db, OTHER, "10");
    assert_int_equal(mapped(db), 0);
    sqlite3_close(db);
    db = vectable_open(table());
    vectable_run(db, "PRAGMA mmap_size = 1000000");
    vectable_is(db, OTHER, "10");
    assert_int_equal(mapped(db), 1000000);
    sqlite3_close(db);
}

static void damaged_pages_ask_for_others_and_no_worse(void **state)
{
    enum { INNER = 5, TRIES = 400 };
    static uint8_t file[PAGES * PAGE];
    char path[320];
    struct rng rng;
    void *map = memory(PROT_NONE);
    FILE *f = fopen(table(), "rb");
    (void)state;
    assert_non_null(f);
    size_t n = fread(file, 1, sizeof file, f), failed = 0;
    fclose(f);
    snprintf(path, sizeof path, "%s.damaged", table());
    rng_init(&rng, 7, 1, 0);
    for (int i = 0; i < TRIES; i++) {
        size_t at, page;
        do page = 1 + rng_below(&rng, n / PAGE - 1);
        while (file[page * PAGE] != INNER);
        at = page * PAGE + rng_below(&rng, i % 2 ? 12 : PAGE);
        uint8_t was = file[at];
        file[at] = (uint8_t)rng_below(&rng, 256);
        f = fopen(path, "wb");
        assert_int_equal(fwrite(file, 1, n, f), n);
        fclose(f);
        file[at] = was;
        sqlite3 *db = spied(path, map);
        failed += sqlite3_exec(db, NEAREST, NULL, NULL, NULL) != SQLITE_OK;
        assert_int_equal(mapped(db), 0);
        sqlite3_close(db);
    }
    print_message("%zu of %d files were too damaged to search\n", failed,
                  TRIES);
    unlink(path);
    munmap(map, (size_t)PAGES * PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_search_asks_for_what_it_reads),
        cmocka_unit_test(what_memory_has_is_not_asked_for),
        cmocka_unit_test(without_a_map_a_search_is_as_ever),
        cmocka_unit_test(damaged_pages_ask_for_others_and_no_worse)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
