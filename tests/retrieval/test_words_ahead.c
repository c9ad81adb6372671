/* Words that a second thread indexes: what the writer takes over is the index
 * that FTS5 would have made itself, or the index stays as it was. */
#include "tests/check.h"

#include "common/base/codes.h"
#include "retrieval/shelve.h"
#include "retrieval/words.h"
#include "retrieval/words_ahead.h"
#include "tests/retrieval/shelf.h"

enum { MANY = 900, TEXT_MAX = 1200, LONG = 400000 };

/* ---- passages -------------------------------------------------------------
 */

/* How their words come into the index. */
enum way { INSERTED, AHEAD };

struct desk {
    struct shelf s;
    struct words_ahead *w;
    struct rng r;
    int64_t next;
};

static void desk_new(struct desk *d)
{
    shelf_new(&d->s);
    rng_init(&d->r, 11, 0, 0);
    d->next = 1;
    check_ok(words_ahead_new(&d->s.db, &d->w));
    check_ok(db_exec(&d->s.db,
                     "INSERT INTO document(id, path, title, kind, hash,"
                     " size_bytes, n_chunks, added_s) VALUES(1, '/a',"
                     " 'Title of it', 'text', x'', 0, 0, 0)"));
}

static void desk_free(struct desk *d)
{
    words_ahead_free(d->w);
    shelf_free(&d->s);
}

/* Some in German, some words rare, some texts without any. */
static void make_text(struct rng *r, char *out)
{
    size_t n = 0, n_words = rng_below(r, 90);
    if (rng_below(r, 5) == 0)
        n = (size_t)snprintf(out, TEXT_MAX, "die der das und ist nicht ");
    out[n] = '\0';
    for (size_t i = 0; i < n_words; i++) {
        uint64_t a = rng_below(r, 4000), b = rng_below(r, 4000);
        n += (size_t)snprintf(out + n, TEXT_MAX - n, "w%lluings ",
                              (unsigned long long)(a < b ? a : b));
    }
}

static void insert_words(struct desk *d, int64_t from)
{
    check_ok(db_run(&d->s.db,
                    "INSERT INTO chunk_fts(rowid, title, heading, text)"
                    " SELECT id, title, heading, text FROM chunk_content"
                    " WHERE id >= ?",
                    "i", from));
}

/* Within a write: n passages; whether their words were taken over. */
static int write_some(struct desk *d, int n, enum way way)
{
    int64_t from = d->next;
    int are_in = 0;
    words_ahead_begin(d->w);
    for (int i = 0; i < n; i++, d->next++) {
        char text[TEXT_MAX];
        make_text(&d->r, text);
        check_ok(db_run(&d->s.db,
                        "INSERT INTO chunk(id, document_id, heading, text,"
                        " byte_first, byte_end, line_first, line_last,"
                        " sentences) VALUES(?, 1, 'Head', ?, 0, 0, 1, 1, x'')",
                        "is", d->next, text));
        const struct words_text t = {d->next, "Title of it", "Head", text,
                                     strlen(text)};
        if (way == AHEAD) words_ahead_give(d->w, &t);
    }
    if (way == AHEAD) check_ok(words_ahead_adopt(d->w, from, &are_in));
    if (!are_in) insert_words(d, from);
    return are_in;
}

static void delete_some(struct desk *d, int64_t every)
{
    check_ok(db_run(&d->s.db,
                    "INSERT INTO chunk_fts(chunk_fts, rowid, title, heading,"
                    " text) SELECT 'delete', id, title, heading, text"
                    " FROM chunk_content WHERE id % ? = 0",
                    "i", every));
    check_ok(
        db_run(&d->s.db, "DELETE FROM chunk WHERE id % ? = 0", "i", every));
}

/* Writes of all kinds; how many were taken over. */
static int write_all(struct desk *d, enum way way)
{
    int n = 0;
    for (int64_t i = 0; i < 9; i++) {
        check_ok(db_begin(&d->s.db));
        if (i % 3 == 1) delete_some(d, 7 + i); /* FTS5 gathers it */
        n += write_some(d, MANY, way);
        if (i % 3 == 2) delete_some(d, 5 + i); /* among them, too */
        write_some(d, 3, INSERTED);
        if (i % 4 == 1) n += write_some(d, MANY, way);
        check_ok(db_commit(&d->s.db));
        write_some(d, 2, INSERTED);
        check_ok(words_check(&d->s.db));
    }
    return n;
}

/* ---- the same to the bit --------------------------------------------------
 */

static void compare(struct desk *a, struct desk *b, const char *sql)
{
    sqlite3_stmt *x, *y;
    int has_x, has_y;
    int64_t n = 0;
    check_ok(db_query(&a->s.db, &x, sql, ""));
    check_ok(db_query(&b->s.db, &y, sql, ""));
    do {
        check_ok(db_step(&a->s.db, x, &has_x));
        check_ok(db_step(&b->s.db, y, &has_y));
        assert_int_equal(has_x, has_y);
        for (int i = 0; has_x && i < sqlite3_column_count(x); i++) {
            int bytes = sqlite3_column_bytes(x, i);
            double p = sqlite3_column_double(x, i);
            double q = sqlite3_column_double(y, i);
            assert_int_equal(bytes, sqlite3_column_bytes(y, i));
            assert_memory_equal(&p, &q, sizeof p);
            if (bytes)
                assert_memory_equal(sqlite3_column_blob(x, i),
                                    sqlite3_column_blob(y, i), (size_t)bytes);
        }
        n += has_x;
    } while (has_x);
    if (n < 10) fail_msg("%s: %lld rows", sql, (long long)n);
    db_finish(x);
    db_finish(y);
}

static void what_is_taken_over_is_what_fts5_would_have_written(void **state)
{
    static const char vocabulary[] =
        "CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, chunk_fts,"
        " 'instance')";
    (void)state;
    struct desk a, b;
    desk_new(&a);
    desk_new(&b);
    assert_int_equal(write_all(&a, INSERTED), 0);
    assert_int_equal(write_all(&b, AHEAD), 9 + 2);
    check_ok(db_exec(&a.s.db, vocabulary));
    check_ok(db_exec(&b.s.db, vocabulary));
    compare(&a, &b, "SELECT term, doc, col, offset FROM terms");
    compare(&a, &b, "SELECT id, sz FROM chunk_fts_docsize");
    compare(&a, &b,
            "SELECT rowid, bm25(chunk_fts, 1, 3, 1) FROM chunk_fts WHERE"
            " chunk_fts MATCH 'w3ings OR w70ings OR title OR head'"
            " ORDER BY 2, 1");
    shelf_close(&b.s); /* and so it is for whoever opens it */
    shelf_open(&b.s);
    check_ok(db_exec(&b.s.db, vocabulary));
    compare(&a, &b, "SELECT term, doc, col, offset FROM terms");
    check_ok(words_check(&b.s.db));
    desk_free(&a);
    desk_free(&b);
}

/* Eight of a level at once: a word is written anew as seldom as that, and a
 * question looks for it in few places. */
static void segments_wait_for_seven_others(void **state)
{
    (void)state;
    struct desk d;
    int64_t n = 0, most = 0;
    desk_new(&d);
    for (int i = 0; i < 60; i++) {
        check_ok(db_begin(&d.s.db));
        assert_true(write_some(&d, 300, AHEAD));
        check_ok(db_commit(&d.s.db));
        check_ok(db_int(&d.s.db, &n,
                        "SELECT count(DISTINCT segid) FROM chunk_fts_idx", ""));
        if (i < 7) assert_int_equal(n, i + 1);
        if (n > most) most = n;
    }
    check_ok(words_check(&d.s.db));
    assert_in_range(most, 8, 20);
    assert_in_range(n, 1, 20);
    desk_free(&d);
}

/* Rows that left, and rows that left and came back with other words, are in
 * several of the segments that become one. */
static void write_and_leave(struct desk *d, enum way way)
{
    for (int64_t i = 0; i < 30; i++) {
        check_ok(db_begin(&d->s.db));
        int are_in = write_some(d, 300, way);
        assert_int_equal(are_in, way == AHEAD);
        if (i % 3 == 1) delete_some(d, 11 + i);
        check_ok(db_run(&d->s.db,
                        "INSERT INTO chunk_fts(chunk_fts, rowid, title,"
                        " heading, text) SELECT 'delete', id, title, heading,"
                        " text FROM chunk_content WHERE id % 13 = ?",
                        "i", i % 13));
        check_ok(db_run(&d->s.db,
                        "UPDATE chunk SET text = 'back w3ings ' || text"
                        " WHERE id % 13 = ?",
                        "i", i % 13));
        check_ok(db_run(&d->s.db,
                        "INSERT INTO chunk_fts(rowid, title, heading, text)"
                        " SELECT id, title, heading, text FROM chunk_content"
                        " WHERE id % 13 = ?",
                        "i", i % 13));
        check_ok(db_commit(&d->s.db));
        check_ok(words_check(&d->s.db));
    }
}

static void what_is_merged_finds_the_same(void **state)
{
    static const char vocabulary[] =
        "CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, chunk_fts,"
        " 'instance')";
    (void)state;
    struct desk a, b;
    int64_t n = 0;
    desk_new(&a);
    desk_new(&b);
    write_and_leave(&a, INSERTED);
    write_and_leave(&b, AHEAD);
    check_ok(db_int(&b.s.db, &n,
                    "SELECT count(DISTINCT segid) FROM chunk_fts_idx", ""));
    assert_in_range(n, 1, 20);
    check_ok(db_exec(&a.s.db, vocabulary));
    check_ok(db_exec(&b.s.db, vocabulary));
    compare(&a, &b, "SELECT term, doc, col, offset FROM terms");
    compare(&a, &b,
            "SELECT rowid, bm25(chunk_fts, 1, 3, 1) FROM chunk_fts WHERE"
            " chunk_fts MATCH '\"back w3ings\" OR w70ings OR title'"
            " ORDER BY 2, 1");
    check_ok(db_exec(&b.s.db, "INSERT INTO chunk_fts(chunk_fts)"
                              " VALUES('optimize')"));
    check_ok(words_check(&b.s.db));
    desk_free(&a);
    desk_free(&b);
}

/* Give passages that are written, but for the words; *are_in. */
static enum tacit_err try_some(struct desk *d, int n, int *are_in)
{
    int64_t from = d->next;
    for (int i = 0; i < n; i++, d->next++) {
        char text[TEXT_MAX];
        make_text(&d->r, text);
        check_ok(db_run(&d->s.db,
                        "INSERT INTO chunk(id, document_id, heading, text,"
                        " byte_first, byte_end, line_first, line_last,"
                        " sentences) VALUES(?, 1, '', ?, 0, 0, 1, 1, x'')",
                        "is", d->next, text));
        words_ahead_give(d->w, &(struct words_text){d->next, "Title of it", "",
                                                    text, strlen(text)});
    }
    return words_ahead_adopt(d->w, from, are_in);
}

/* Any byte of a leaf flipped: the words are in, or the store is damaged. */
static void damaged_segments_are_merged_or_an_error(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct desk d;
        struct rng r;
        int64_t id = 0, at = 0;
        int are_in = 1;
        rng_init(&r, seed, 0, 0);
        desk_new(&d);
        check_ok(db_begin(&d.s.db));
        for (int i = 0; i < 7; i++) assert_true(write_some(&d, 300, AHEAD));
        check_ok(db_int(&d.s.db, &id,
                        "SELECT id FROM chunk_fts_data WHERE id > 10"
                        " ORDER BY id % 1009 * ? % 1013 LIMIT 1",
                        "i", (int64_t)seed * 37 + 1));
        at = (int64_t)rng_below(&r, seed % 2 ? 8 : 2000);
        check_ok(db_run(&d.s.db,
                        "UPDATE chunk_fts_data SET block = CAST(substr(block,"
                        " 1, ?2) || char(?3) || substr(block, ?2 + 2) AS BLOB)"
                        " WHERE id = ?1",
                        "iii", id, at, (int64_t)rng_below(&r, 128)));
        if (try_some(&d, 300, &are_in)) err_clear();
        db_rollback(&d.s.db);
        desk_free(&d);
    }
}

/* ---- what is left alone ---------------------------------------------------
 */

/* Everything that the index keeps. */
static int64_t fingerprint(struct desk *d)
{
    int64_t n = 0;
    check_ok(db_int(&d->s.db, &n,
                    "SELECT (SELECT sum(id % 1000003 * length(block)) FROM"
                    " chunk_fts_data) + (SELECT sum(segid * pgno) FROM"
                    " chunk_fts_idx) + (SELECT sum(id * length(sz)) FROM"
                    " chunk_fts_docsize)",
                    ""));
    return n;
}

static void an_index_of_another_form_is_left_alone(void **state)
{
    static const char *const forms[] = {
        "INSERT INTO chunk_fts(chunk_fts, rank) VALUES('automerge', 2)",
        "INSERT INTO chunk_fts(chunk_fts, rank) VALUES('pgsz', 500)",
        "REPLACE INTO chunk_fts_config VALUES('version', 5)",
        /* the second form of the record, one byte too many, one too few */
        "UPDATE chunk_fts_data SET block = x'00000000ff00000101000000'"
        " WHERE id = 10",
        "UPDATE chunk_fts_data SET block = CAST(block || x'00' AS BLOB)"
        " WHERE id = 10",
        "UPDATE chunk_fts_data SET block = substr(block, 1, length(block) - 1)"
        " WHERE id = 10",
        "DELETE FROM chunk_fts_data WHERE id = 10",
        "UPDATE chunk_fts_data SET block = CAST(block || x'00' AS BLOB)"
        " WHERE id = 1",
        "UPDATE chunk_fts_data SET block = x'ffffffffffffffffff000000'"
        " WHERE id = 1"};
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct desk d;
        int are_in = 1;
        desk_new(&d);
        write_some(&d, 50, INSERTED);
        check_ok(db_exec(&d.s.db, forms[i]));
        shelf_close(&d.s); /* nothing of it is remembered */
        shelf_open(&d.s);
        int64_t was = fingerprint(&d);
        check_ok(db_begin(&d.s.db));
        /* FTS5 itself may say that it is damaged; what counts is the index. */
        if (try_some(&d, MANY, &are_in)) err_clear(), are_in = 0;
        assert_int_equal(are_in, 0);
        assert_int_equal(fingerprint(&d), was);
        check_ok(db_commit(&d.s.db));
        desk_free(&d);
    }
}

static void a_defended_index_is_left_alone(void **state)
{
    (void)state;
    struct desk d;
    desk_new(&d);
    assert_int_equal(sqlite3_db_config(d.s.db.sql, SQLITE_DBCONFIG_DEFENSIVE, 1,
                                       NULL),
                     SQLITE_OK);
    check_ok(db_begin(&d.s.db));
    assert_int_equal(write_some(&d, MANY, AHEAD), 0);
    check_ok(db_commit(&d.s.db));
    check_ok(words_check(&d.s.db));
    desk_free(&d);
}

static void a_failure_midway_leaves_the_index_as_it_was(void **state)
{
    (void)state;
    struct desk d;
    int are_in = 1;
    desk_new(&d);
    check_ok(db_begin(&d.s.db));
    write_some(&d, MANY, AHEAD);
    check_ok(db_commit(&d.s.db));
    check_ok(db_run(&d.s.db,
                    "INSERT INTO chunk_fts_docsize(id, sz) VALUES(?, x'00')",
                    "i", d.next + MANY - 1));
    int64_t was = fingerprint(&d);
    check_ok(db_begin(&d.s.db));
    check_err(try_some(&d, MANY, &are_in), TACIT_STATE);
    err_clear();
    assert_int_equal(are_in, 0);
    assert_int_equal(fingerprint(&d), was);
    db_rollback(&d.s.db);
    check_ok(db_run(&d.s.db, "DELETE FROM chunk_fts_docsize WHERE id = ?", "i",
                    d.next - 1));
    d.next -= MANY;
    check_ok(db_begin(&d.s.db)); /* it does not stick */
    assert_int_equal(write_some(&d, MANY, AHEAD), 1);
    check_ok(db_commit(&d.s.db));
    check_ok(words_check(&d.s.db));
    desk_free(&d);
}

static void few_passages_and_long_texts_are_not_taken(void **state)
{
    (void)state;
    struct desk d;
    int are_in = 1;
    char *text = calloc(1, (2 << 20) + 1);
    if (!text) fail_msg("out of memory");
    memset(text, 'a', 2 << 20);
    desk_new(&d);
    check_ok(db_begin(&d.s.db));
    assert_int_equal(write_some(&d, 5, AHEAD), 0);
    check_ok(db_commit(&d.s.db));
    words_ahead_begin(d.w);
    words_ahead_give(d.w, &(struct words_text){9, "", "", text, 2 << 20});
    check_ok(words_ahead_adopt(d.w, 9, &are_in));
    assert_int_equal(are_in, 0);
    check_ok(words_check(&d.s.db));
    free(text);
    desk_free(&d);
}

static void put_vector(struct desk *d, const char *path, const char *text,
                       const float *v)
{
    struct shelve_cut cut;
    check_ok(shelve_cut(text, &cut));
    check_ok(shelve_vector(d->s.corpus, &(struct shelve_row){path, "", text},
                           &cut, v));
    shelve_cut_release(&cut);
}

/* ---- writes that are undone -----------------------------------------------
 */

static void shelve_some(struct desk *d, const char *folder, int n)
{
    for (int i = 0; i < n; i++) {
        char path[64], text[TEXT_MAX];
        float v[ENCODER_DIM] = {[0] = 1};
        snprintf(path, sizeof path, "/%s/%d", folder, i);
        make_text(&d->r, text);
        put_vector(d, path, text, v);
    }
}

static void end_write(struct desk *d, const char *end)
{
    int64_t n = 0;
    check_ok(shelve_end(d->s.corpus));
    check_ok(db_exec(&d->s.db, end));
    check_ok(words_check(&d->s.db));
    check_ok(db_int(&d->s.db, &n,
                    "SELECT (SELECT count(*) FROM chunk_content) -"
                    " (SELECT count(*) FROM chunk_fts_docsize)",
                    ""));
    assert_int_equal(n, 0);
}

static void what_is_undone_leaves_no_words(void **state)
{
    static const char *const undone[] = {"ROLLBACK; BEGIN", "ROLLBACK TO s"};
    (void)state;
    for (size_t i = 0; i < 2; i++)
        for (int again = 0; again <= MANY; again += MANY / 2) {
            struct desk d;
            desk_new(&d);
            check_ok(db_exec(&d.s.db, "DELETE FROM document; BEGIN"));
            shelve_some(&d, "kept", 3);
            end_write(&d, "COMMIT; BEGIN");
            check_ok(db_exec(&d.s.db, "SAVEPOINT s"));
            shelve_some(&d, "undone", MANY);
            check_ok(db_exec(&d.s.db, undone[i]));
            shelve_some(&d, "again", again);
            end_write(&d, "COMMIT; BEGIN");
            shelve_some(&d, "more", MANY);
            end_write(&d, "COMMIT");
            desk_free(&d);
        }
}

/* More than is taken over at once. */
static void a_long_write_is_taken_over_in_parts(void **state)
{
    (void)state;
    struct desk d;
    char *text = calloc(1, LONG + TEXT_MAX);
    if (!text) fail_msg("out of memory");
    desk_new(&d);
    check_ok(db_exec(&d.s.db, "DELETE FROM document; BEGIN"));
    for (int i = 0; i < 45; i++) {
        char path[32];
        float v[ENCODER_DIM] = {[1] = 1};
        for (size_t n = 0; n < LONG; n += strlen(text + n))
            make_text(&d.r, text + n);
        snprintf(path, sizeof path, "/long/%d", i);
        put_vector(&d, path, text, v);
    }
    free(text);
    end_write(&d, "COMMIT");
    desk_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken_over_is_what_fts5_would_have_written),
        cmocka_unit_test(segments_wait_for_seven_others),
        cmocka_unit_test(what_is_merged_finds_the_same),
        cmocka_unit_test(damaged_segments_are_merged_or_an_error),
        cmocka_unit_test(an_index_of_another_form_is_left_alone),
        cmocka_unit_test(a_defended_index_is_left_alone),
        cmocka_unit_test(a_failure_midway_leaves_the_index_as_it_was),
        cmocka_unit_test(few_passages_and_long_texts_are_not_taken),
        cmocka_unit_test(what_is_undone_leaves_no_words),
        cmocka_unit_test(a_long_write_is_taken_over_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
