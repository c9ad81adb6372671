/* The index read from its leaves: rows, scores to the bit and order are those
 * that FTS5's own cursors give, whatever the index went through; damage is an
 * error, and what has another form is left to FTS5. */
#include "tests/check.h"

#include "common/base/codes.h"
#include "retrieval/question.h"
#include "retrieval/stem.h"
#include "retrieval/words_scan.h"
#include "tests/retrieval/shelf.h"

enum { BEST = 30, ROWS_MAX = 4000, QUERIES = 40, WORDS = 60, TEXT = 4096 };

/* A question's words, the first of which are in most rows. */
static void draw_question(struct shelf *s, struct rng *r, struct question *out)
{
    char text[256] = "";
    for (size_t k = 0; k <= rng_below(r, 6); k++) {
        size_t a = rng_below(r, WORDS), b = rng_below(r, WORDS);
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "word%zu ", a < b ? a : b);
    }
    check_ok(question_read(&s->a, text, out));
}

static void draw_text(struct rng *r, char *text)
{
    size_t n = 0, n_words = 1 + rng_below(r, 40);
    if (rng_below(r, 50) == 0) n_words = 500; /* its places are long */
    text[0] = '\0';
    for (size_t k = 0; k < n_words; k++) {
        size_t a = rng_below(r, WORDS), b = rng_below(r, WORDS);
        n += (size_t)snprintf(text + n, TEXT - n, "word%zu ", a < b ? a : b);
    }
}

/* What an index holds of row i, so that it can be deleted. */
struct made {
    int64_t id;
    char *title, *text;
};

struct index {
    struct shelf s;
    struct rng r;
    struct made list[ROWS_MAX];
    size_t n;
};

static void run(struct index *x, const char *sql, const struct made *m)
{
    sqlite3_stmt *st;
    int has_row;
    check_ok(
        db_query(&x->s.db, &st, sql, "isss", m->id, m->title, "Head", m->text));
    check_ok(db_step(&x->s.db, st, &has_row));
    db_finish(st);
}

static void insert(struct index *x, const struct made *m)
{
    run(x,
        "INSERT INTO chunk_fts(rowid, title, heading, text)"
        " VALUES(?, ?, ?, ?)",
        m);
}

static void delete (struct index *x, const struct made *m)
{
    run(x,
        "INSERT INTO chunk_fts(chunk_fts, rowid, title, heading, text)"
        " VALUES('delete', ?, ?, ?, ?)",
        m);
}

static void draw_row(struct index *x, struct made *m)
{
    char text[TEXT], title[64];
    draw_text(&x->r, text);
    snprintf(title, sizeof title, "word%zu", (size_t)rng_below(&x->r, WORDS));
    free(m->title);
    free(m->text);
    m->title = strdup(title);
    m->text = strdup(text);
    assert_non_null(m->title);
    assert_non_null(m->text);
}

/* n rows in one transaction, which makes a segment; their ids rise by `gap` at
 * most. */
static void add_rows(struct index *x, size_t n, uint64_t gap)
{
    check_ok(db_begin(&x->s.db));
    for (size_t i = 0; i < n; i++) {
        struct made *m = &x->list[x->n];
        int64_t last = x->n ? x->list[x->n - 1].id : 0;
        draw_row(x, m);
        m->id = last + 1 + (int64_t)rng_below(&x->r, gap);
        insert(x, m);
        x->n++;
    }
    check_ok(db_commit(&x->s.db));
}

/* Some rows go, others say something else from now on. */
static void change_rows(struct index *x)
{
    check_ok(db_begin(&x->s.db));
    for (size_t i = 0; i < x->n; i++) {
        struct made *m = &x->list[i];
        unsigned what = (unsigned)rng_below(&x->r, 6);
        if (!m->text || what > 1) continue;
        delete (x, m);
        draw_row(x, m);
        if (what) {
            insert(x, m);
            continue;
        }
        free(m->text);
        m->text = NULL;
    }
    check_ok(db_commit(&x->s.db));
}

static void index_new(struct index *x, uint64_t seed)
{
    memset(x, 0, sizeof *x);
    shelf_new(&x->s);
    rng_init(&x->r, seed, 0, 0);
}

static void index_free(struct index *x)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        free(x->list[i].title);
        free(x->list[i].text);
    }
    shelf_free(&x->s);
}

/* What is asked beside the words. */
struct asked {
    int64_t only[ROWS_MAX], wanted[ROWS_MAX];
    size_t n_only, n_wanted;
};

static void draw_asked(struct index *x, struct asked *a)
{
    a->n_only = a->n_wanted = 0;
    for (size_t i = 0; i < x->n; i++) {
        if (rng_below(&x->r, 3) == 0) a->only[a->n_only++] = x->list[i].id;
        if (rng_below(&x->r, 9) == 0) a->wanted[a->n_wanted++] = x->list[i].id;
    }
}

/* One question by the leaves and by FTS5; how many rows it found. */
static size_t compare(struct index *x, const struct question *q,
                      const struct asked *a, int is_filtered)
{
    static double scores[2][ROWS_MAX];
    struct words_hit best[2][BEST];
    struct words_query by[2];
    int is_done = 0;
    for (int i = 0; i < 2; i++) {
        by[i] = (struct words_query){.fts = q->fts,
                                     .wanted = a->wanted,
                                     .n_wanted = a->n_wanted,
                                     .wanted_score = scores[i],
                                     .n_best = BEST,
                                     .best = best[i]};
        if (is_filtered) by[i].only = a->only, by[i].n_only = a->n_only;
    }
    by[0].term = q->term;
    by[0].n_terms = q->n_terms;
    check_ok(words_scan(&x->s.db, &by[0], &is_done));
    assert_int_equal(is_done, 1);
    check_ok(words_search(&x->s.db, &by[1]));
    assert_int_equal(by[0].n_matching, by[1].n_matching);
    assert_int_equal(by[0].n_found, by[1].n_found);
    for (size_t i = 0; i < by[0].n_found; i++) {
        assert_int_equal(best[0][i].id, best[1][i].id);
        assert_true(best[0][i].score == best[1][i].score);
    }
    for (size_t i = 0; i < a->n_wanted; i++)
        assert_true(scores[0][i] == scores[1][i]);
    return by[0].n_found;
}

static void ask(struct index *x)
{
    static struct asked a;
    size_t n_found = 0;
    for (int i = 0; i < QUERIES; i++) {
        struct question q;
        arena_reset(&x->s.a);
        draw_question(&x->s, &x->r, &q);
        draw_asked(x, &a);
        n_found += compare(x, &q, &a, i % 2);
    }
    assert_true(n_found > 0);
}

static int64_t count(struct index *x, const char *sql)
{
    int64_t n = 0;
    check_ok(db_int(&x->s.db, &n, sql, ""));
    return n;
}

/* pgsz as FTS5 has it and as small as can be: then lists and the places of one
 * row go over many leaves. */
static void leaves_say_what_fts5_says(void **state)
{
    (void)state;
    static struct index x;
    static const int page_bytes[] = {4050, 200, 32};
    for (size_t k = 0; k < sizeof page_bytes / sizeof *page_bytes; k++) {
        index_new(&x, 5 + k);
        check_ok(db_run(&x.s.db,
                        "INSERT INTO chunk_fts(chunk_fts, rank)"
                        " VALUES('pgsz', ?)",
                        "i", (int64_t)page_bytes[k]));
        shelf_close(&x.s);
        shelf_open(&x.s);
        for (size_t i = 0; i < 12; i++) {
            add_rows(&x, 80, i % 3 ? 1 : 3000);
            if (i % 3 == 2) change_rows(&x);
            if (i == 6)
                check_ok(db_exec(&x.s.db, "INSERT INTO chunk_fts(chunk_fts,"
                                          " rank) VALUES('merge', -3)"));
            ask(&x);
        }
        check_ok(db_exec(&x.s.db, "INSERT INTO chunk_fts(chunk_fts)"
                                  " VALUES('optimize')"));
        ask(&x);
        assert_true(count(&x, "SELECT count(*) FROM chunk_fts_data") > 5);
        index_free(&x);
    }
}

static void any_row_number_is_read(void **state)
{
    (void)state;
    static struct index x;
    static struct asked none;
    static const int64_t ids[] = {INT64_MIN + 1, -5,       0, 1, 1 << 20,
                                  INT64_MAX - 1, INT64_MAX};
    char title[] = "word1", text[] = "word1 word2";
    struct question q;
    index_new(&x, 1);
    check_ok(db_begin(&x.s.db));
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        insert(&x, &(struct made){ids[i], title, text});
    check_ok(db_commit(&x.s.db));
    check_ok(question_read(&x.s.a, "word1", &q));
    assert_int_equal(compare(&x, &q, &none, 0), sizeof ids / sizeof *ids);
    index_free(&x);
}

/* ---- what is left to FTS5 ------------------------------------------------ */

/* Whether a question of one term, which is held, is read from leaves. */
static int is_scanned(struct index *x, const char *term)
{
    struct words_hit best[BEST];
    int is_done = 2;
    struct words_query w = {.term = &term,
                            .n_terms = 1,
                            .n_best = BEST,
                            .best = best};
    arena_reset(&x->s.a);
    check_ok(question_quote(&x->s.a, term, &w.fts));
    check_ok(words_scan(&x->s.db, &w, &is_done));
    check_ok(words_search(&x->s.db, &w));
    assert_true(w.n_found > 0);
    return is_done;
}

static void other_forms_are_left_to_fts5(void **state)
{
    (void)state;
    static struct index x;
    char title[] = "word1", text[] = "word1 o'clock";
    index_new(&x, 2);
    insert(&x, &(struct made){1, title, text});
    assert_int_equal(is_scanned(&x, "word1"), 1);
    /* Two words of the index that stand together. */
    assert_int_equal(is_scanned(&x, "o'clock"), 0);
    /* What a transaction has written so far is in FTS5's memory. */
    check_ok(db_begin(&x.s.db));
    insert(&x, &(struct made){2, title, text});
    assert_int_equal(is_scanned(&x, "word1"), 0);
    check_ok(db_commit(&x.s.db));
    assert_int_equal(is_scanned(&x, "word1"), 1);
    index_free(&x);
}

static void a_newer_form_is_left_to_fts5(void **state)
{
    (void)state;
    static struct index x;
    struct question q;
    int is_done = 2;
    index_new(&x, 2);
    check_ok(db_exec(&x.s.db, "UPDATE chunk_fts_config SET v = 5"
                              " WHERE k = 'version'"));
    check_ok(question_read(&x.s.a, "word1", &q));
    struct words_query w = {.fts = q.fts, .term = q.term, .n_terms = 1};
    check_ok(words_scan(&x.s.db, &w, &is_done));
    assert_int_equal(is_done, 0);
    index_free(&x);
}

/* ---- damage --------------------------------------------------------------
 */

enum { FLIPS = 4000 };

static enum tacit_err scan_once(struct index *x, const struct question *q)
{
    struct words_hit best[BEST];
    int is_done = 0;
    struct words_query w = {.fts = q->fts,
                            .term = q->term,
                            .n_terms = q->n_terms,
                            .n_best = BEST,
                            .best = best};
    return words_scan(&x->s.db, &w, &is_done);
}

/* Bytes of the index are set to others, cut off or put on. */
static void damage(struct index *x)
{
    static const char *const how[] = {
        "UPDATE chunk_fts_data SET block = substr(block, 1, ?3) || ?2 ||"
        " substr(block, ?3 + 2) WHERE id = ?1",
        "UPDATE chunk_fts_data SET block = substr(block, 1, ?3)"
        " WHERE id = ?1 AND ?2 IS NOT NULL",
        "UPDATE chunk_fts_data SET block = block || ?2"
        " WHERE id = ?1 AND ?3 IS NOT NULL",
        "DELETE FROM chunk_fts_data WHERE id = ?1 AND ?2 IS NOT NULL"
        " AND ?3 IS NOT NULL"};
    int64_t n = count(x, "SELECT count(*) FROM chunk_fts_data"), id = 0;
    int64_t size = 0;
    sqlite3_stmt *st;
    int has_row;
    check_ok(db_int(&x->s.db, &id,
                    "SELECT id FROM chunk_fts_data ORDER BY id LIMIT 1"
                    " OFFSET ?",
                    "i", (int64_t)rng_below(&x->r, (uint64_t)n)));
    check_ok(db_int(&x->s.db, &size,
                    "SELECT length(block) FROM chunk_fts_data WHERE id = ?",
                    "i", id));
    unsigned which = (unsigned)rng_below(&x->r, 40);
    uint8_t byte = (uint8_t)rng_below(&x->r, 256);
    check_ok(db_query(&x->s.db, &st, how[which < 4 ? which : 0], "ibi", id,
                      &byte, (size_t)1,
                      (int64_t)rng_below(&x->r, (uint64_t)size)));
    check_ok(db_step(&x->s.db, st, &has_row));
    db_finish(st);
}

static void damage_is_an_error_or_another_answer(void **state)
{
    (void)state;
    static struct index x;
    size_t n_errors = 0;
    index_new(&x, 3);
    check_ok(db_exec(&x.s.db, "INSERT INTO chunk_fts(chunk_fts, rank)"
                              " VALUES('pgsz', 100)"));
    add_rows(&x, 60, 1);
    add_rows(&x, 60, 500);
    change_rows(&x);
    shelf_close(&x.s);
    shelf_open(&x.s);
    check_ok(db_exec(&x.s.db, "CREATE TEMP TABLE whole AS"
                              " SELECT * FROM chunk_fts_data;"
                              "PRAGMA synchronous = OFF"));
    for (int i = 0; i < FLIPS; i++) {
        struct question q;
        arena_reset(&x.s.a);
        draw_question(&x.s, &x.r, &q);
        damage(&x);
        enum tacit_err err = scan_once(&x, &q);
        if (err) {
            assert_int_equal(err_id(), E_STORE_DAMAGED);
            n_errors++;
            err_clear();
        }
        check_ok(db_exec(&x.s.db, "REPLACE INTO chunk_fts_data"
                                  " SELECT * FROM whole"));
    }
    assert_true(n_errors > FLIPS / 50);
    index_free(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_say_what_fts5_says),
        cmocka_unit_test(any_row_number_is_read),
        cmocka_unit_test(other_forms_are_left_to_fts5),
        cmocka_unit_test(a_newer_form_is_left_to_fts5),
        cmocka_unit_test(damage_is_an_error_or_another_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
