/*
 * Random writes, savepoints and rollbacks, applied to a table of vectors and to
 * an ordinary table of the same database, which SQLite keeps right: after each
 * step, exact searches with and without filters equal a plain sort of the
 * other's rows. Vectors are small whole numbers, so that distances are exact.
 */
#include "tests/retrieval/vectable.h"

#include <math.h>

enum { DIM = 8, IDS = 3000, STEPS = 500, DEPTH_MAX = 4, BULK = 150, SEEDS = 4 };

struct world {
    sqlite3 *db;
    struct rng rng;
    int depth; /* open savepoints */
    int in_transaction;
};

/* The distance of two blobs of floats, as the table gives it. */
static void l2(sqlite3_context *ctx, int n, sqlite3_value **v)
{
    float a[DIM], b[DIM], sum = 0;
    (void)n;
    memcpy(a, sqlite3_value_blob(v[0]), sizeof a);
    memcpy(b, sqlite3_value_blob(v[1]), sizeof b);
    for (int i = 0; i < DIM; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    sqlite3_result_double(ctx, (double)sqrtf(sum));
}

static unsigned below(struct world *w, unsigned n)
{
    return (unsigned)rng_below(&w->rng, n);
}

static void draw(struct world *w, float *v)
{
    /* Around few places, so that lists have something to split. */
    unsigned centre = below(w, 12);
    for (int i = 0; i < DIM; i++)
        v[i] =
            (float)((int)(centre * 7919 >> i & 7) * 12 + (int)below(w, 9)) + 1;
}

/* The same statement on v and on the model m, whose key is id. */
static void both(struct world *w, const char *form_v, const char *form_m,
                 const char *rest)
{
    char sql[512];
    snprintf(sql, sizeof sql, "%s%s", form_v, rest);
    vectable_run(w->db, sql);
    snprintf(sql, sizeof sql, "%s%s", form_m, rest);
    vectable_run(w->db, sql);
}

static void insert(struct world *w, unsigned id)
{
    static const char columns[] = "(?1, %u, 'tenant number %u', 'text %u')";
    char values[128], sql[256];
    float v[DIM];
    draw(w, v);
    snprintf(values, sizeof values, columns, below(w, 5), below(w, 3), id);
    /* ?1 is the vector; its id goes first by name. */
    snprintf(sql, sizeof sql,
             "REPLACE INTO v(e, dept, tenant, chunk, rowid) SELECT *, %u FROM"
             " (VALUES %s)",
             id, values);
    vectable_bind(w->db, sql, v, DIM);
    snprintf(sql, sizeof sql,
             "REPLACE INTO m(e, dept, tenant, chunk, id) SELECT *, %u FROM"
             " (VALUES %s)",
             id, values);
    /* The same words again: they were drawn once, into `values`. */
    vectable_bind(w->db, sql, v, DIM);
}

static void update_vector(struct world *w, unsigned id)
{
    float v[DIM];
    char sql[128];
    draw(w, v);
    snprintf(sql, sizeof sql, "UPDATE v SET e = ?1 WHERE rowid = %u", id);
    vectable_bind(w->db, sql, v, DIM);
    snprintf(sql, sizeof sql, "UPDATE m SET e = ?1 WHERE id = %u", id);
    vectable_bind(w->db, sql, v, DIM);
}

/* A statement that fails at its end leaves nothing of its beginning. */
static void insert_in_vain(struct world *w)
{
    if (!vectable_int(w->db, "SELECT count(*) FROM m")) return;
    vectable_refused(w->db,
                     "INSERT INTO v(rowid, e, dept, tenant, chunk) SELECT"
                     " 100000 + id, e, dept, tenant, chunk FROM m UNION ALL"
                     " SELECT id, e, dept, tenant, chunk FROM m",
                     "UNIQUE constraint failed");
}

static void write_something(struct world *w)
{
    char rest[128];
    unsigned id = 1 + below(w, IDS);
    switch (below(w, 9)) {
    case 0: insert(w, id); break;
    case 1:
    case 2:
        for (unsigned i = 0; i < BULK; i++) insert(w, 1 + below(w, IDS));
        break;
    case 3:
        snprintf(rest, sizeof rest, "%u", id);
        both(w,
             "DELETE FROM v WHERE rowid = ", "DELETE FROM m WHERE id = ", rest);
        break;
    case 4:
        snprintf(rest, sizeof rest, " %% 13 = %u", below(w, 13));
        both(w, "DELETE FROM v WHERE rowid", "DELETE FROM m WHERE id", rest);
        break;
    case 5:
        snprintf(rest, sizeof rest, " %% 29 = %u", below(w, 29));
        both(w, "UPDATE v SET dept = dept + 1 WHERE rowid",
             "UPDATE m SET dept = dept + 1 WHERE id", rest);
        break;
    case 6:
        snprintf(rest, sizeof rest, " %% 31 = %u", below(w, 31));
        both(w, "UPDATE v SET tenant = 'tenant number 9' WHERE rowid",
             "UPDATE m SET tenant = 'tenant number 9' WHERE id", rest);
        break;
    case 7: update_vector(w, id); break;
    default:
        snprintf(rest, sizeof rest, "%u", id);
        both(w, "UPDATE OR REPLACE v SET rowid = 5 WHERE rowid = ",
             "UPDATE OR REPLACE m SET id = 5 WHERE id = ", rest);
        insert_in_vain(w);
    }
}

static void move_in_transaction(struct world *w)
{
    char sql[64];
    unsigned at = w->depth ? below(w, (unsigned)w->depth) : 0;
    if (!w->in_transaction) {
        vectable_run(w->db, "BEGIN");
        w->in_transaction = 1;
        return;
    }
    switch (below(w, 6)) {
    case 0:
    case 1:
        if (w->depth == DEPTH_MAX) break;
        snprintf(sql, sizeof sql, "SAVEPOINT s%d", w->depth++);
        vectable_run(w->db, sql);
        break;
    case 2:
        if (!w->depth) break;
        snprintf(sql, sizeof sql, "ROLLBACK TO s%u", at);
        vectable_run(w->db, sql);
        w->depth = (int)at + 1;
        break;
    case 3:
        if (!w->depth) break;
        snprintf(sql, sizeof sql, "RELEASE s%u", at);
        vectable_run(w->db, sql);
        w->depth = (int)at;
        break;
    default:
        vectable_run(w->db, below(w, 3) ? "COMMIT" : "ROLLBACK");
        w->depth = w->in_transaction = 0;
    }
}

/* Both give the same rows; `rest` is one more condition. */
static void compare(struct world *w, const float *q, const char *rest)
{
    char sql[512], literal[DIM * 8 + 8], want[8192];
    size_t n = 0;
    for (int i = 0; i < DIM; i++) {
        uint32_t bits;
        memcpy(&bits, &q[i], sizeof bits);
        for (int b = 0; b < 4; b++)
            n += (size_t)snprintf(literal + n, sizeof literal - n, "%02x",
                                  bits >> 8 * b & 255);
    }
    snprintf(sql, sizeof sql,
             "SELECT id, dept, tenant, chunk, hex(e) FROM m WHERE %s ORDER BY"
             " l2(e, x'%s'), id LIMIT 10",
             rest, literal);
    snprintf(want, sizeof want, "%s", vectable_text(w->db, sql));
    snprintf(sql, sizeof sql,
             "SELECT rowid, dept, tenant, chunk, hex(e) FROM v WHERE e MATCH"
             " x'%s' AND k = 10 AND exact = 1 AND %s",
             literal, rest);
    assert_string_equal(vectable_text(w->db, sql), want);
}

static void compare_all(struct world *w)
{
    static const char *const rest[] = {
        "1",
        "dept = 2",
        "dept IN (0, 3)",
        "tenant = 'tenant number 1'",
        "tenant > 'tenant number 1' AND dept < 4",
        "chunk > 'text 2'"};
    float q[DIM];
    draw(w, q);
    compare(w, q, rest[below(w, 5)]);
    compare(w, q, "1");
    vectable_is(w->db,
                "SELECT (SELECT count(*) FROM v) - (SELECT count(*) FROM m)",
                "0");
}

/* Approximately, too: nearly all of the nearest are found. */
static void check_recall(struct world *w)
{
    struct vecindex_recall r;
    check_ok(vecindex_measure(w->db, "main", "v", 20, 10, NULL, &r));
    if (r.recall < 0.9) fail_msg("recall %.3f", r.recall);
}

static void play(uint64_t seed, const char *options)
{
    struct world w = {.db = vectable_open(":memory:")};
    char sql[256];
    rng_init(&w.rng, seed, 1, 0);
    print_message("seed %llu, %s\n", (unsigned long long)seed, options);
    sqlite3_create_function(w.db, "l2", 2, SQLITE_UTF8, NULL, l2, NULL, NULL);
    snprintf(sql, sizeof sql,
             "CREATE VIRTUAL TABLE v USING tacit_vec(e float[%d] metric=l2"
             " store=f32, dept int filter, tenant text %s, +chunk)",
             DIM, options);
    vectable_run(w.db, sql);
    vectable_run(w.db, "CREATE TABLE m(id INTEGER PRIMARY KEY, e, dept INTEGER,"
                       " tenant TEXT, chunk)");
    for (int step = 0; step < STEPS; step++) {
        if (below(&w, 3))
            write_something(&w);
        else
            move_in_transaction(&w);
        if (below(&w, 3) == 0) compare_all(&w);
        if (step % 50 == 49) vectable_sound(w.db, "main");
    }
    if (w.in_transaction) vectable_run(w.db, "COMMIT");
    compare_all(&w);
    vectable_sound(w.db, "main");
    vectable_run(w.db, "INSERT INTO v(v) VALUES ('optimize')");
    check_recall(&w);
    vectable_sound(w.db, "main");
    vectable_run(w.db, "INSERT INTO v(v) VALUES ('rebuild')");
    compare_all(&w);
    vectable_sound(w.db, "main");
    assert_int_equal(sqlite3_close(w.db), SQLITE_OK);
}

static void the_table_equals_an_ordinary_one(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        play(seed, seed % 2 ? "filter" : "partition key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_equals_an_ordinary_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
