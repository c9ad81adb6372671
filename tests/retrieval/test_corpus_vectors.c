/* Passages' vectors in their table: stores of before, damage, what has no
 * words. */
#include "tests/check.h"

#include <math.h>

#include "common/base/codes.h"
#include "common/crypto/sealed.h"
#include "retrieval/corpus_state.h"
#include "retrieval/embedder.h"
#include "retrieval/shelve.h"
#include "tests/retrieval/shelf.h"

enum { OLD_STEPS = CORPUS_N_SECOND, OLD_DOCUMENTS = 40 };

static int64_t count(struct shelf *s, const char *sql)
{
    int64_t n = -1;
    check_ok(db_int(&s->db, &n, sql, ""));
    return n;
}

/* Text i: words of its own, and some that all have. */
static const char *text_of(int i)
{
    static char text[200];
    snprintf(text, sizeof text,
             "Pump number%d is cleaned by nurse%d on ward%d at night.", i,
             i * 7, i % 5);
    return text;
}

/* ---- a store that was made before there was a table */

static void old_document(struct db *db, int i, const char *version,
                         const float *v)
{
    char path[32];
    uint8_t hash[32] = {(uint8_t)i};
    snprintf(path, sizeof path, "/old/%d.txt", i);
    check_ok(db_run(db,
                    "INSERT INTO document(id, path, title, kind, hash,"
                    " size_bytes, n_chunks, added_s, made_by)"
                    " VALUES(?, ?, '', 'text', ?, 10, 1, 5, ?)",
                    "isbi", (int64_t)i, path, (const void *)hash, sizeof hash,
                    (int64_t)CHUNKER_VERSION));
    check_ok(db_run(db,
                    "INSERT INTO chunk(id, document_id, heading, text,"
                    " byte_first, byte_end, line_first, line_last, sentences)"
                    " VALUES(?1, ?1, '', ?2, 0, 10, 1, 1, x'')",
                    "is", (int64_t)i, text_of(i)));
    check_ok(db_run(db,
                    "INSERT INTO chunk_fts(rowid, title, heading, text)"
                    " VALUES(?, '', '', ?)",
                    "is", (int64_t)i, text_of(i)));
    check_ok(db_run(db, "INSERT INTO vector VALUES(?, ?, ?)", "isb", (int64_t)i,
                    version, (const void *)v, ENCODER_DIM * sizeof *v));
}

/* Documents 1 …: the last three have a vector of another encoder, of length
 * zero, and of no numbers. */
static void make_old(struct shelf *s)
{
    struct db db;
    char path[512], version[ENCODER_VERSION_MAX];
    encoder_version(s->encoder, version);
    snprintf(path, sizeof path, "%s/tacit.db", s->folder);
    check_ok(db_open_through(&db, path, DB_CREATE, s->door, corpus_migrations,
                             OLD_STEPS));
    for (int i = 1; i <= OLD_DOCUMENTS; i++) {
        float v[ENCODER_DIM];
        struct text text = {text_of(i), strlen(text_of(i))};
        check_ok(embedder_passage(s->encoder, &s->a, "", "", text, v));
        if (i == OLD_DOCUMENTS - 1) memset(v, 0, sizeof v);
        if (i == OLD_DOCUMENTS) v[7] = NAN;
        old_document(&db, i, i == OLD_DOCUMENTS - 2 ? "other" : version, v);
    }
    db_close(&db);
}

static void migrate(const struct db_vfs *door)
{
    struct shelf s = {.door = door};
    float v[ENCODER_DIM], w[ENCODER_DIM];
    size_t n;
    rng_setup();
    arena_init(&s.a, 0);
    check_tmpdir(s.folder);
    check_ok(encoder_new(&s.encoder));
    make_old(&s);
    shelf_open(&s);
    struct corpus_counts c;
    check_ok(corpus_count(s.corpus, &c));
    assert_int_equal(c.n_chunks, OLD_DOCUMENTS);
    assert_int_equal(c.n_fts, OLD_DOCUMENTS);
    assert_int_equal(c.n_vectors, OLD_DOCUMENTS - 2);
    assert_int_equal(c.n_stale, 1);
    assert_int_equal(count(&s, "SELECT count(*) FROM sqlite_schema WHERE"
                               " name = 'vector'"),
                     0);
    assert_int_equal(count(&s, "PRAGMA page_size"), 4096); /* as it was */
    for (int i = 1; i < OLD_DOCUMENTS - 2; i++) {
        struct text text = {text_of(i), strlen(text_of(i))};
        double cosine = 0;
        check_ok(embedder_passage(s.encoder, &s.a, "", "", text, v));
        check_ok(corpus_vector(s.corpus, i, w));
        for (size_t k = 0; k < ENCODER_DIM; k++)
            cosine += (double)v[k] * (double)w[k];
        assert_true(cosine > 0.999);
        struct search_hit *hits = shelf_search(&s, text_of(i), NULL, 3, &n);
        assert_int_equal(hits[0].chunk_id, i);
        assert_int_equal(hits[0].rank_vectors, 1);
    }
    /* What another encoder made is not compared. */
    struct search_hit *hits = shelf_search(&s, "number38", NULL, 3, &n);
    assert_int_equal(hits[0].chunk_id, OLD_DOCUMENTS - 2);
    assert_int_equal(hits[0].rank_vectors, 0);
    /* Both texts have words, so that both are to have vectors. */
    check_ok(corpus_mend(s.corpus, CORPUS_MEND, &n));
    assert_int_equal(n, 2);
    shelf_check(&s);
    shelf_close(&s);
    shelf_open(&s); /* once is enough */
    assert_int_equal(shelf_check(&s).n_vectors, OLD_DOCUMENTS);
    shelf_free(&s);
}

static void a_store_of_before_keeps_its_vectors(void **state)
{
    (void)state;
    migrate(NULL);
}

static void so_does_a_sealed_one(void **state)
{
    (void)state;
    static const uint8_t key[SEAL_KEY] = {5};
    struct sealed_vfs *vfs;
    rng_setup();
    check_ok(sealed_new(key, &vfs));
    struct db_vfs door = sealed_door(vfs);
    migrate(&door);
    sealed_free(vfs);
}

static void a_new_store_has_pages_for_the_vectors(void **state)
{
    (void)state;
    struct shelf s;
    shelf_new(&s);
    assert_int_equal(count(&s, "PRAGMA page_size"), SCHEMA_PAGE_BYTES);
    shelf_free(&s);
}

/* ---- damage */

static void fill(struct shelf *s, int n)
{
    check_ok(db_begin(&s->db));
    for (int i = 0; i < n; i++) {
        char path[32];
        snprintf(path, sizeof path, "/made/%d", i);
        check_ok(shelve_text(s->corpus, path, "", text_of(i)));
    }
    check_ok(shelve_end(s->corpus));
    check_ok(db_commit(&s->db));
}

/* What an examination says of itself, joined by commas. */
struct told {
    char what[128];
    const char *last;
    uint64_t done, total;
};

static void take_step(void *ctx, const char *what, const char *unit,
                      uint64_t done, uint64_t total)
{
    struct told *t = ctx;
    assert_true(*unit && done <= total);
    if (t->last && strcmp(t->last, what) == 0) {
        /* what follows another check that was sound is one, too */
        assert_true(done <= 1 || (done >= t->done && total == t->total));
    } else {
        size_t n = strlen(t->what);
        snprintf(t->what + n, sizeof t->what - n, "%s%s", n ? "," : "", what);
    }
    t->last = what;
    t->done = done;
    t->total = total;
}

static void an_examination_tells_how_far_it_is(void **state)
{
    (void)state;
    struct shelf s;
    struct corpus_examined x;
    struct told t = {.what = ""};
    const struct corpus_watch watch = {take_step, &t};
    shelf_new(&s);
    fill(&s, 700);
    check_ok(db_exec(&s.db, "DELETE FROM passage_vector WHERE rowid < 50"));
    check_ok(corpus_examine(s.corpus, &watch, &x));
    assert_string_equal(t.what, "checking the index,embedding again,"
                                "checking the index,measuring recall");
    assert_int_equal(x.n_embedded, 49);
    t = (struct told){.what = ""};
    check_ok(db_exec(&s.db, "DELETE FROM passage_vector_list"));
    shelf_close(&s);
    shelf_open(&s);
    check_ok(corpus_examine(s.corpus, &watch, &x));
    assert_string_equal(t.what, "checking the index,making the index anew,"
                                "checking the index,measuring recall");
    /* Nobody is told any more. */
    t = (struct told){.what = ""};
    check_ok(corpus_examine(s.corpus, NULL, &x));
    assert_string_equal(t.what, "");
    shelf_free(&s);
}

static void damage_is_found_and_mended_from_rows_or_text(void **state)
{
    (void)state;
    enum { N = 900 };
    static const struct {
        const char *sql;
        int is_damage, some_are_lost;
    } cases[] = {
        {"SELECT 1", 0, 0},
        {"DELETE FROM passage_vector_place WHERE id % 3 = 0", 1, 0},
        {"DELETE FROM passage_vector_info", 1, 0},
        {"DELETE FROM passage_vector_list", 1, 0},
        {"UPDATE passage_vector_seg SET data = zeroblob(length(data))", 1, 1},
        {"UPDATE passage_vector_seg SET data = substr(data, 1, 90)", 1, 1},
        {"DELETE FROM passage_vector_seg", 1, 1},
        {"DROP TABLE passage_vector_place", 1, 0},
        {"DROP TABLE passage_vector_seg", 1, 1},
        {"ALTER TABLE passage_vector_seg RENAME COLUMN data TO d", 1, 1},
        {"DELETE FROM passage_vector WHERE rowid < 100", 0, 1},
        {"INSERT INTO passage_vector(rowid, v)"
         " SELECT 5000, v FROM passage_vector WHERE rowid = 1",
         0, 0},
    };
    struct shelf s;
    shelf_new(&s);
    fill(&s, N);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct corpus_examined x;
        size_t n;
        check_ok(db_exec(&s.db, cases[i].sql));
        shelf_close(&s);
        shelf_open(&s);
        check_ok(corpus_examine(s.corpus, NULL, &x));
        assert_int_equal(x.was_damaged, cases[i].is_damage);
        assert_int_equal(x.n_embedded > 0, cases[i].some_are_lost);
        assert_int_equal(x.n_vectors, N);
        assert_true(x.recall >= 0.95 && x.n_lists >= 2);
        shelf_check(&s);
        struct search_hit *hits = shelf_search(&s, text_of(500), NULL, 3, &n);
        assert_int_equal(hits[0].rank_vectors, 1);
        assert_string_equal(hits[0].path, "/made/500");
    }
    shelf_free(&s);
}

static void a_search_of_a_damaged_table_names_the_way_out(void **state)
{
    (void)state;
    struct shelf s;
    struct search_hit *hits;
    size_t n;
    struct search_query q = {.text = "pump on a ward", .limit = 3};
    enum corpus_outcome outcome;
    shelf_new(&s);
    fill(&s, 50);
    static const char *const damages[] = {
        "DELETE FROM passage_vector_seg WHERE id >> 20 & 1 = 0",
        "DELETE FROM passage_vector_list",
        "UPDATE passage_vector_info SET value = x'00'"};
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        check_ok(db_exec(&s.db, damages[i]));
        shelf_close(&s);
        shelf_open(&s);
        assert_int_not_equal(search_hybrid(s.corpus, &q, &s.a, &hits, &n), 0);
        assert_int_equal(err_id(), E_INDEX_DAMAGED);
        assert_non_null(strstr(err_message(), "tacit doctor --index"));
        err_clear();
    }
    /* Nor is anything added that could not be found. */
    check_code(corpus_add(s.corpus, shelf_write(&s, "a.txt", "One more.\n"),
                          &outcome, &n),
               E_INDEX_DAMAGED);
    struct corpus_counts c;
    check_ok(corpus_count(s.corpus, &c));
    assert_int_equal(c.n_documents, 50);
    shelf_free(&s);
}

/* ---- without words */

static void what_has_no_words_has_no_vector_and_harms_nothing(void **state)
{
    (void)state;
    struct shelf s;
    size_t n;
    struct corpus_examined x;
    float v[ENCODER_DIM], zero[ENCODER_DIM] = {0};
    shelf_new(&s);
    fill(&s, 5);
    check_ok(db_begin(&s.db));
    check_ok(shelve_text(s.corpus, "/made/none", "", "* * *"));
    check_ok(db_commit(&s.db));
    struct corpus_counts c;
    check_ok(corpus_count(s.corpus, &c));
    assert_int_equal(c.n_chunks, 6);
    assert_int_equal(c.n_vectors, 5);
    check_ok(corpus_mend(s.corpus, CORPUS_MEND_COUNT, &n));
    assert_int_equal(n, 0);
    check_ok(corpus_examine(s.corpus, NULL, &x));
    assert_true(!x.was_damaged && !x.n_embedded && x.n_vectors == 5);
    check_ok(corpus_vector(s.corpus, 6, v));
    assert_memory_equal(v, zero, sizeof v);
    struct corpus_near near[3];
    check_ok(corpus_nearest(s.corpus, zero, 3, NULL, 0, near, &n));
    assert_int_equal(n, 0);
    check_ok(corpus_remove(s.corpus, "/made/none", &n));
    assert_int_equal(n, 1);
    shelf_check(&s);
    shelf_free(&s);
}

/* ---- additions in one transaction */

static void what_is_gathered_is_written_together(void **state)
{
    (void)state;
    struct shelf s;
    enum corpus_outcome outcome;
    size_t n;
    shelf_new(&s);
    shelf_add(&s, "0.txt", "Here before.\n");
    corpus_gather(s.corpus);
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.txt", i);
        check_ok(corpus_add(s.corpus, shelf_write(&s, name, text_of(i)),
                            &outcome, &n));
        assert_int_equal(outcome, i ? CORPUS_ADDED : CORPUS_REPLACED);
        assert_int_equal(n, 1);
    }
    int64_t written = count(&s, "SELECT count(*) FROM document");
    assert_true(written < 300);
    /* The same file again, while it waits: it is in the store by then. */
    check_ok(corpus_add(s.corpus, shelf_write(&s, "299.txt", text_of(299)),
                        &outcome, &n));
    assert_int_equal(outcome, CORPUS_UNCHANGED);
    check_ok(corpus_add(s.corpus, shelf_write(&s, "299.txt", "Other words."),
                        &outcome, &n));
    assert_int_equal(outcome, CORPUS_REPLACED);
    /* One that cannot be read costs nothing but itself. */
    check_code(corpus_add(s.corpus, shelf_write(&s, "bad.txt", "caf\x81\n"),
                          &outcome, &n),
               E_DOCUMENT_NOT_UTF8);
    assert_false(corpus_is_broken(s.corpus));
    check_ok(corpus_settle(s.corpus));
    assert_int_equal(shelf_check(&s).n_documents, 300);
    /* Removing sees what waits. */
    corpus_gather(s.corpus);
    check_ok(corpus_add(s.corpus, shelf_write(&s, "late.txt", "Late words."),
                        &outcome, &n));
    check_ok(corpus_remove(s.corpus, shelf_write(&s, "late.txt", ""), &n));
    assert_int_equal(n, 1);
    assert_int_equal(shelf_check(&s).n_documents, 300);
    shelf_free(&s);
}

static void a_failed_write_is_the_store_s_and_leaves_none_of_it(void **state)
{
    (void)state;
    struct shelf s, other;
    enum corpus_outcome outcome;
    size_t n;
    shelf_new(&s);
    other = s;
    shelf_open(&other);
    shelf_add(&s, "kept.txt", "Here before.\n");
    corpus_gather(s.corpus);
    for (int i = 0; i < 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.txt", i);
        check_ok(corpus_add(s.corpus, shelf_write(&s, name, text_of(i)),
                            &outcome, &n));
    }
    check_ok(db_exec(&s.db, "CREATE TEMP TRIGGER full BEFORE INSERT ON chunk"
                            " WHEN new.text LIKE '%number3%' BEGIN"
                            " SELECT raise(ABORT, 'no room'); END"));
    check_err(corpus_settle(s.corpus), TACIT_STATE);
    assert_true(corpus_is_broken(s.corpus));
    assert_int_equal(shelf_check(&s).n_documents, 1);
    check_ok(db_exec(&s.db, "DROP TRIGGER full"));
    /* Another program takes the numbers of the passages that were lost. */
    shelf_add(&other, "beside.txt", "From elsewhere.\n");
    assert_int_equal(shelf_add(&s, "0.txt", text_of(0)), CORPUS_ADDED);
    assert_false(corpus_is_broken(s.corpus));
    assert_int_equal(shelf_check(&s).n_documents, 3);
    shelf_close(&other);
    arena_release(&other.a);
    shelf_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_of_before_keeps_its_vectors),
        cmocka_unit_test(so_does_a_sealed_one),
        cmocka_unit_test(a_new_store_has_pages_for_the_vectors),
        cmocka_unit_test(an_examination_tells_how_far_it_is),
        cmocka_unit_test(damage_is_found_and_mended_from_rows_or_text),
        cmocka_unit_test(a_search_of_a_damaged_table_names_the_way_out),
        cmocka_unit_test(what_has_no_words_has_no_vector_and_harms_nothing),
        cmocka_unit_test(what_is_gathered_is_written_together),
        cmocka_unit_test(a_failed_write_is_the_store_s_and_leaves_none_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
