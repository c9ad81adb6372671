/* Words that are gathered: the segment is the one that FTS5 would have made,
 * for whatever it is asked. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "retrieval/words_gather.h"

/* Two indexes of the same texts: `mine` has the segment that was gathered,
 * `theirs` the one that FTS5 made. */
struct desk {
    struct db db;
    struct words_gather *g;
    struct rng r;
    struct buf text;
    int64_t id;
};

static void desk_new(struct desk *d, size_t page_bytes, uint64_t seed)
{
    *d = (struct desk){.id = 0};
    rng_init(&d->r, seed, 0, 0);
    db_setup();
    assert_int_equal(sqlite3_open(":memory:", &d->db.sql), SQLITE_OK);
    check_ok(stem_register(&d->db));
    check_ok(words_gather_new(&d->db, page_bytes, &d->g));
    words_gather_clear(d->g);
    check_ok(db_exec(
        &d->db,
        "CREATE TABLE texts(id INTEGER PRIMARY KEY, title, heading, text);"
        "CREATE VIRTUAL TABLE mine USING fts5(title, heading, text,"
        " content=texts, content_rowid=id, tokenize='" STEM_TOKENIZER "');"
        "CREATE VIRTUAL TABLE theirs USING fts5(title, heading, text,"
        " content=texts, content_rowid=id, tokenize='" STEM_TOKENIZER "');"
        "CREATE VIRTUAL TABLE my_terms USING fts5vocab(mine, instance);"
        "CREATE VIRTUAL TABLE their_terms USING fts5vocab(theirs, instance);"
        "INSERT INTO theirs(theirs, rank) VALUES('hashsize', 99999999);"
        "BEGIN"));
    check_ok(db_run(&d->db,
                    "INSERT INTO theirs(theirs, rank) VALUES('pgsz', ?)", "i",
                    (int64_t)page_bytes));
}

static void desk_free(struct desk *d)
{
    words_gather_free(d->g);
    buf_release(&d->text);
    db_close(&d->db);
}

static void add(struct desk *d, const char *title, const char *heading,
                const char *text)
{
    const struct text column[] = {{title, strlen(title)},
                                  {heading, strlen(heading)},
                                  {text, strlen(text)}};
    check_ok(db_run(&d->db, "INSERT INTO texts VALUES(?, ?, ?, ?)", "isss",
                    d->id, title, heading, text));
    check_ok(db_run(&d->db,
                    "INSERT INTO theirs(rowid, title, heading, text)"
                    " VALUES(?, ?, ?, ?)",
                    "isss", d->id, title, heading, text));
    check_ok(words_gather_add(d->g, d->id, column));
}

/* ---- the gathered segment into its table ----------------------------------
 */

static void write_rows(struct desk *d, const char *sql, struct buf *b)
{
    check_ok(buf_end(b));
    check_ok(db_run(&d->db, sql, "b", b->data, b->len));
    buf_clear(b);
}

static void write_segment(struct desk *d, const struct words_segment *s)
{
    const struct words_page *page = (const void *)s->pages.data;
    const struct words_split *split = (const void *)s->splits.data;
    for (size_t i = 0; i < s->pages.len / sizeof *page; i++)
        check_ok(db_run(&d->db,
                        "INSERT INTO mine_data VALUES(? + (1 << 37), ?)", "ib",
                        page[i].id, s->bytes.data + page[i].at, page[i].n));
    for (size_t i = 0; i < s->splits.len / sizeof *split; i++)
        check_ok(db_run(&d->db, "INSERT INTO mine_idx VALUES(1, ?, ?)", "bi",
                        s->bytes.data + split[i].at, split[i].n,
                        split[i].page));
}

static void adopt(struct desk *d)
{
    uint64_t sum[1 + WORDS_COLUMNS] = {0};
    struct buf b = {.len = 0};
    size_t n;
    check_ok(words_gather_end(d->g));
    const struct words_segment *s = words_gather_segment(d->g);
    const struct words_row *row = words_gather_rows(d->g, &n);
    write_segment(d, s);
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < WORDS_COLUMNS; k++) {
            words_put(&b, row[i].n_words[k]);
            sum[1 + k] += row[i].n_words[k];
        }
        check_ok(db_run(&d->db, "INSERT INTO mine_docsize VALUES(?, ?)", "ib",
                        row[i].id, b.data, b.len));
        buf_clear(&b);
    }
    sum[0] = n;
    for (int k = 0; k <= WORDS_COLUMNS; k++) words_put(&b, sum[k]);
    write_rows(d, "REPLACE INTO mine_data VALUES(1, ?)", &b);
    const uint64_t record[] = {0,           0, 0, 0, 1, 1,
                               s->n_leaves, 0, 1, 1, 1, s->n_leaves};
    for (size_t i = 0; i < sizeof record / sizeof *record; i++)
        words_put(&b, record[i]);
    write_rows(d, "REPLACE INTO mine_data VALUES(10, ?)", &b);
    buf_release(&b);
    check_ok(db_exec(&d->db, "COMMIT"));
}

/* ---- the same answers -----------------------------------------------------
 */

static void compare(struct desk *d, const char *mine, const char *theirs)
{
    sqlite3_stmt *x, *y;
    int has_x, has_y;
    check_ok(db_query(&d->db, &x, mine, ""));
    check_ok(db_query(&d->db, &y, theirs, ""));
    do {
        check_ok(db_step(&d->db, x, &has_x));
        check_ok(db_step(&d->db, y, &has_y));
        if (has_x != has_y) fail_msg("%s: one ends", mine);
        for (int i = 0; has_x && i < sqlite3_column_count(x); i++) {
            int bytes = sqlite3_column_bytes(x, i);
            double p = sqlite3_column_double(x, i);
            double q = sqlite3_column_double(y, i);
            if (bytes != sqlite3_column_bytes(y, i) ||
                memcmp(&p, &q, sizeof p) != 0 ||
                (bytes && memcmp(sqlite3_column_blob(x, i),
                                 sqlite3_column_blob(y, i), (size_t)bytes)))
                fail_msg("%s: column %d", mine, i);
        }
    } while (has_x);
    db_finish(x);
    db_finish(y);
}

static void compare_question(struct desk *d, const char *fts)
{
    static const char *const orders[] = {"rowid", "rowid DESC", "3, rowid"};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        char sql[2][512];
        for (int k = 0; k < 2; k++) {
            const char *t = k ? "theirs" : "mine";
            snprintf(sql[k], sizeof sql[k],
                     "SELECT rowid, bm25(%s, 1, 3, 1), rank,"
                     " highlight(%s, 2, '[', ']') FROM %s WHERE"
                     " %s MATCH '%s' ORDER BY %s LIMIT 300",
                     t, t, t, t, fts, orders[i]);
        }
        compare(d, sql[0], sql[1]);
    }
}

static void compare_all(struct desk *d)
{
    static const char *const questions[] = {
        "w1 OR w3 OR w2000",
        "w0 AND w1",
        "w0 NOT w2",
        "\"w1 w0\"",
        "\"w0 w0 w0\"",
        "w1*",
        "\"haus w\" *",
        "title : w2",
        "{heading text} : w1",
        "- {text} : w0",
        "NEAR(w0 w1, 3)",
        "NEAR(\"w0 w1\" w2, 9) OR rare*",
        "^ w0",
        "w0 AND rare1",
        "title : (w0 AND w1) OR heading : w2",
        "häuser OR rare2",
        "\"語 言\""};
    compare(d, "SELECT term, doc, col, offset FROM my_terms",
            "SELECT term, doc, col, offset FROM their_terms");
    compare(d, "SELECT id, sz FROM mine_docsize",
            "SELECT id, sz FROM theirs_docsize");
    compare(d, "SELECT block FROM mine_data WHERE id = 1",
            "SELECT block FROM theirs_data WHERE id = 1");
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        compare_question(d, questions[i]);
    check_ok(db_exec(&d->db, "INSERT INTO mine(mine, rank)"
                             " VALUES('integrity-check', 1)"));
    /* And FTS5 can go on from it: rows leave, segments merge. */
    check_ok(db_exec(&d->db, "INSERT INTO mine(mine, rowid, title, heading,"
                             " text) SELECT 'delete', id, title, heading, text"
                             " FROM texts WHERE id % 3 = 0;"
                             "DELETE FROM texts WHERE id % 3 = 0;"
                             "INSERT INTO mine(mine) VALUES('optimize');"
                             "INSERT INTO mine(mine, rank)"
                             " VALUES('integrity-check', 1)"));
}

/* ---- texts ----------------------------------------------------------------
 */

/* Common words and rare ones, also of scripts without spaces, of other
 * languages, and far longer than a leaf. */
static void put_words(struct desk *d, size_t n)
{
    static const char *const openings[] = {"", "", "die der das und ist nicht ",
                                           "語言 か ", "Naïve Ångström "};
    buf_clear(&d->text);
    buf_printf(&d->text, "%s", openings[rng_below(&d->r, 5)]);
    for (size_t i = 0; i < n; i++) {
        uint64_t a = rng_below(&d->r, 3000), b = rng_below(&d->r, 3000);
        uint64_t kind = rng_below(&d->r, 400);
        if (kind == 0)
            buf_printf(&d->text, "rare%d ", (int)rng_below(&d->r, 100000));
        else if (kind == 1)
            for (uint64_t k = rng_below(&d->r, 300); k--;)
                buf_printf(&d->text, "%c", (int)('a' + k % 5));
        else
            buf_printf(&d->text, "w%d ", (int)(a * b / 3000 / (kind % 64 + 1)));
    }
    check(buf_cstr(&d->text) != NULL);
}

static void next_id(struct desk *d)
{
    static const int bits[] = {0, 0, 0, 3, 12, 40};
    d->id +=
        1 + (int64_t)rng_below(&d->r, (uint64_t)1 << bits[rng_below(&d->r, 6)]);
}

static void add_some(struct desk *d, int n)
{
    char title[64], heading[64];
    for (int i = 0; i < n; i++) {
        next_id(d);
        snprintf(title, sizeof title, "Title w%d", (int)rng_below(&d->r, 9));
        snprintf(heading, sizeof heading, "%s", i % 3 ? "w2 w1 häuser" : "");
        put_words(d, rng_below(&d->r, 10) ? rng_below(&d->r, 60)
                                          : rng_below(&d->r, 2000));
        add(d, i % 5 ? title : "", heading, (const char *)d->text.data);
    }
}

/* ---- tests ----------------------------------------------------------------
 */

static void whatever_is_asked_the_answers_are_the_same(void **state)
{
    static const size_t page_bytes[] = {32, 33, 64, 257, 1000, 4050};
    (void)state;
    for (uint64_t i = 0; i < 6; i++) {
        struct desk d;
        desk_new(&d, page_bytes[i], 100 + i);
        add_some(&d, i < 4 ? 150 : 500);
        adopt(&d);
        compare_all(&d);
        desk_free(&d);
    }
}

/* Rows of one word over so many leaves that their list has lists over it. */
static void a_word_in_all_rows_is_listed(void **state)
{
    (void)state;
    struct desk d;
    int64_t n = 0;
    desk_new(&d, 48, 7);
    for (int i = 0; i < 3000; i++) {
        next_id(&d);
        add(&d, "", i % 1000 ? "" : "rare1", i % 2 ? "w0 w1" : "w1 w0 w0 w0");
    }
    adopt(&d);
    check_ok(db_int(&d.db, &n,
                    "SELECT max(id >> 31 & 31) FROM mine_data"
                    " WHERE id >> 36 & 1",
                    ""));
    assert_in_range(n, 2, 9);
    compare_all(&d);
    desk_free(&d);
}

static void rows_and_words_have_any_size(void **state)
{
    static const size_t sizes[] = {24, 25, 4040, 32767, 32768, 32769, 60000};
    static char word[70000];
    (void)state;
    struct desk d;
    desk_new(&d, 4050, 9);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        d.id += (int64_t)1 << (8 * i + 6);
        memset(word, 'a' + (int)(i % 2), sizes[i]);
        word[sizes[i]] = '\0';
        add(&d, "w0", "w0 \x01 w0", word);
    }
    d.id = INT64_MAX;
    buf_clear(&d.text);
    for (int i = 0; i < 4000; i++) buf_printf(&d.text, "w0 w%d ", i % 7);
    check(buf_cstr(&d.text) != NULL);
    add(&d, "", "", (const char *)d.text.data);
    adopt(&d);
    compare_all(&d);
    desk_free(&d);
}

static void what_is_cleared_is_forgotten(void **state)
{
    static const struct text column[] = {{"old words", 9}, {"", 0}, {"", 0}};
    (void)state;
    struct desk d;
    size_t n = 1;
    desk_new(&d, 4050, 3);
    check_ok(words_gather_add(d.g, 5, column));
    check_ok(words_gather_end(d.g));
    words_gather_clear(d.g);
    assert_int_equal(words_gather_tokens(d.g), 0);
    words_gather_rows(d.g, &n);
    assert_int_equal(n, 0);
    check_ok(words_gather_end(d.g)); /* nothing is a segment without leaves */
    assert_int_equal(words_gather_segment(d.g)->n_leaves, 0);
    words_gather_clear(d.g);
    add_some(&d, 100);
    adopt(&d);
    compare_all(&d);
    desk_free(&d);
}

static void too_long_a_text_is_refused(void **state)
{
    (void)state;
    struct desk d;
    char *text = calloc(1, WORDS_GATHER_BYTES + 1);
    check(text != NULL);
    const struct text column[] = {{"", 0},
                                  {"", 0},
                                  {text, WORDS_GATHER_BYTES + 1}};
    desk_new(&d, 4050, 3);
    check_err(words_gather_add(d.g, 5, column), TACIT_LIMIT);
    free(text);
    desk_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_is_asked_the_answers_are_the_same),
        cmocka_unit_test(a_word_in_all_rows_is_listed),
        cmocka_unit_test(rows_and_words_have_any_size),
        cmocka_unit_test(what_is_cleared_is_forgotten),
        cmocka_unit_test(too_long_a_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
