/* The word index: stems by language, and a ranking that must give the numbers
 * of FTS5's own bm25(). */
#include "tests/check.h"

#include "common/base/codes.h"
#include "retrieval/question.h"
#include "retrieval/shelve.h"
#include "retrieval/stem.h"
#include "retrieval/words.h"
#include "tests/retrieval/shelf.h"

enum { TEXTS = 400, BEST = 20, QUERIES = 60 };

static size_t find(struct shelf *s, const char *text, const char **path)
{
    size_t n;
    struct search_hit *hits = shelf_search(s, text, NULL, 1, &n);
    *path = n && hits[0].rank_words ? hits[0].path : "";
    return n;
}

static void words_are_stemmed_in_the_language_of_their_text(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *question;
    } rows[] = {
        {"de.txt",
         "Die H\xc3\xa4user wurden von den Feuerwehren ger\xc3\xa4umt,"
         " und das ist nicht alles.\n",
         "Haus Feuerwehr"},
        {"fr.txt",
         "Les patients sont examin\xc3\xa9s dans une salle avec des"
         " fen\xc3\xaatres qui ne sont pas ouvertes.\n",
         "fen\xc3\xaatre ouverte"},
        {"es.txt",
         "Los ni\xc3\xb1os corren por las calles y no hay coches que"
         " les molesten.\n",
         "ni\xc3\xb1o corre calle"},
        {"ru.txt",
         "\xd0\x94\xd0\xbe\xd0\xbc\xd0\xb0 \xd0\xb8 \xd1\x81\xd0\xb0"
         "\xd0\xb4\xd1\x8b \xd0\xb1\xd1\x8b\xd0\xbb\xd0\xb8 \xd0\xb2 "
         "\xd0\xb3\xd0\xbe\xd1\x80\xd0\xbe\xd0\xb4\xd0\xb5, \xd0\xbd"
         "\xd0\xbe \xd0\xbd\xd0\xb5 \xd0\xbd\xd0\xb0 \xd0\xbc\xd0\xbe"
         "\xd1\x80\xd0\xb5.\n",
         "\xd1\x81\xd0\xb0\xd0\xb4"},
        {"en.txt",
         "The universities were founded in the city, and they are"
         " the oldest of all.\n",
         "university founding"},
        {"ja.txt", "\xe7\x97\x85\xe9\x99\xa2\xe3\x81\xae\xe8\x96\xac\n",
         "\xe8\x96\xac"},
    };
    struct shelf s;
    shelf_new(&s);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        shelf_add(&s, rows[i].name, rows[i].text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path;
        find(&s, rows[i].question, &path);
        if (!strstr(path, rows[i].name))
            fail_msg("\"%s\" found %s", rows[i].question, path);
    }
    shelf_check(&s);
    uint32_t languages;
    check_ok(words_languages(&s.db, &languages));
    const char *const there[] = {"en", "de", "fr", "es", "ru"};
    uint32_t want = 0;
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        want |= 1u << language_find(there[i]);
    assert_int_equal(languages, want);
    assert_int_equal(language_find("tlh"), -1);
    shelf_free(&s);
}

static void a_language_goes_with_its_last_text(void **state)
{
    (void)state;
    struct shelf s;
    size_t n;
    uint32_t languages;
    shelf_new(&s);
    shelf_add(&s, "a.txt", "The cat is on the mat and it was asleep.\n");
    shelf_add(&s, "b.txt",
              "Die Katze ist auf der Matte und schl\xc3\xa4"
              "ft.\n");
    check_ok(words_languages(&s.db, &languages));
    assert_int_equal(languages, 1u << language_find("de") | 1u);
    check_ok(corpus_remove(s.corpus, shelf_write(&s, "b.txt", ""), &n));
    check_ok(words_languages(&s.db, &languages));
    assert_int_equal(languages, 1u);
    shelf_check(&s);
    shelf_free(&s);
}

/* An index of another tokenizer, as an older program wrote it. */
static void an_older_index_is_made_anew(void **state)
{
    (void)state;
    struct shelf s;
    const char *path;
    shelf_new(&s);
    shelf_add(&s, "a.txt", "The universities were founded in the city.\n");
    check_ok(db_exec(&s.db,
                     "DROP TABLE chunk_fts;"
                     "CREATE VIRTUAL TABLE chunk_fts USING fts5(title, heading,"
                     " text, content='chunk_content', content_rowid='id',"
                     " tokenize='porter unicode61');"));
    shelf_close(&s);
    shelf_open(&s);
    shelf_check(&s);
    find(&s, "university", &path);
    assert_non_null(strstr(path, "a.txt"));
    shelf_free(&s);
}

static void a_damaged_index_is_made_anew(void **state)
{
    static const char *const damages[] = {
        "DELETE FROM chunk_fts_data WHERE rowid > 10",
        "UPDATE chunk_fts_data SET block = zeroblob(9)",
        "DELETE FROM chunk_fts_docsize WHERE rowid = 1",
        "DROP TABLE chunk_fts_data",
        "DROP TABLE chunk_fts_idx",
        "DROP TABLE chunk_fts_docsize",
        "DROP TABLE chunk_fts_config"};
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct shelf s;
        const char *path;
        int was_damaged = 2;
        shelf_new(&s);
        shelf_add(&s, "a.txt", "The universities were founded in the city.\n");
        shelf_add(&s, "b.txt", "The garden lies behind the kitchen.\n");
        check_ok(words_mend(&s.db, &was_damaged));
        assert_int_equal(was_damaged, 0);
        check_ok(db_exec(&s.db, damages[i]));
        shelf_close(&s);
        shelf_open(&s);
        assert_int_equal(words_check(&s.db), TACIT_FORMAT);
        assert_int_equal(err_id(), E_STORE_DAMAGED);
        assert_non_null(strstr(err_message(), "tacit doctor --index"));
        err_clear();
        check_ok(words_mend(&s.db, &was_damaged));
        assert_int_equal(was_damaged, 1);
        shelf_check(&s);
        find(&s, "university", &path);
        assert_non_null(strstr(path, "a.txt"));
        shelf_free(&s);
    }
}

/* ---- the ranking ---- */

static const char *const some[] = {"ward",     "nurse",   "gloves", "dose",
                                   "pharmacy", "weekend", "order",  "chart",
                                   "lamp",     "winter",  "garden", "kitchen",
                                   "report",   "morning"};
enum { N_SOME = sizeof some / sizeof *some };

static void write_texts(struct shelf *s, struct rng *r)
{
    check_ok(db_begin(&s->db));
    for (int i = 0; i < TEXTS; i++) {
        char path[16], title[64], text[2048];
        size_t n = 0, n_words = 3 + rng_below(r, 60);
        snprintf(path, sizeof path, "%d", i);
        snprintf(title, sizeof title, "%s %s", some[rng_below(r, N_SOME)],
                 some[rng_below(r, N_SOME)]);
        for (size_t k = 0; k < n_words; k++) {
            /* The first words are rarer. */
            size_t w = rng_below(r, N_SOME), v = rng_below(r, N_SOME);
            n += (size_t)snprintf(text + n, sizeof text - n, "%s ",
                                  some[w > v ? w : v]);
        }
        check_ok(shelve_text(s->corpus, path, title, text));
    }
    check_ok(shelve_end(s->corpus));
    check_ok(db_commit(&s->db));
}

/* The scores are FTS5's, and the best are the best. */
static void compare(struct shelf *s, struct words_query *q)
{
    sqlite3_stmt *st;
    int has_row;
    size_t at = 0, n_all = 0;
    check_ok(db_query(&s->db, &st,
                      "SELECT rowid, -bm25(chunk_fts, 1, 3, 1) AS score"
                      " FROM chunk_fts WHERE chunk_fts MATCH ?"
                      " ORDER BY score DESC, rowid",
                      "s", q->fts));
    check_ok(db_step(&s->db, st, &has_row));
    for (; has_row; n_all++) {
        int64_t id = sqlite3_column_int64(st, 0);
        double score = sqlite3_column_double(st, 1);
        if (!q->only || id % 3 == 0) {
            for (size_t i = 0; i < q->n_wanted; i++)
                if (q->wanted[i] == id)
                    check_near(q->wanted_score[i], score, 1e-9);
            if (at < q->n_found) {
                check_near(q->best[at].score, score, 1e-9);
                assert_int_equal(q->best[at].id, id);
            }
            at++;
        }
        check_ok(db_step(&s->db, st, &has_row));
    }
    db_finish(st);
    assert_int_equal(q->n_found, at < q->n_best ? at : q->n_best);
    assert_int_equal(q->n_matching, at);
}

static void scores_are_those_of_bm25(void **state)
{
    (void)state;
    struct shelf s;
    struct rng r;
    struct words_hit best[BEST];
    int64_t thirds[TEXTS], wanted[TEXTS];
    double wanted_score[TEXTS];
    size_t n_thirds = 0, n_wanted = 0;
    shelf_new(&s);
    rng_init(&r, 4, 0, 0);
    write_texts(&s, &r);
    for (int i = 1; i <= TEXTS; i++) {
        if (i % 3 == 0) thirds[n_thirds++] = i;
        if (i % 7 == 0) wanted[n_wanted++] = i;
    }
    for (int i = 0; i < QUERIES; i++) {
        char text[256] = "";
        struct question question;
        for (size_t k = 0; k <= rng_below(&r, 5); k++) {
            size_t n = strlen(text);
            snprintf(text + n, sizeof text - n, "%s ",
                     some[rng_below(&r, N_SOME)]);
        }
        arena_reset(&s.a);
        check_ok(question_read(&s.a, text, &question));
        struct words_query q = {.fts = question.fts,
                                .wanted = wanted,
                                .n_wanted = n_wanted,
                                .wanted_score = wanted_score,
                                .n_best = 1 + rng_below(&r, BEST),
                                .best = best};
        if (i % 2) q.only = thirds, q.n_only = n_thirds;
        check_ok(words_search(&s.db, &q));
        compare(&s, &q);
    }
    check_err(db_exec(&s.db, "SELECT words_rank(chunk_fts) FROM chunk_fts"
                             " WHERE chunk_fts MATCH 'ward'"),
              TACIT_INTERNAL);
    shelf_free(&s);
}

/* ---- stems that are kept -------------------------------------------------
 */

enum { PAIRS = 200, WORDS_OF_PAIR = 100 }; /* more words than are kept */

/* The same made-up words twice, in a German text and in an English one. */
static void write_pair(struct shelf *s, int pair)
{
    static const char consonant[] = "bdfgklmnprst", vowel[] = "aeiou";
    static const char *const frame[] = {"die der das und ist nicht ",
                                        "the of and to in is "};
    static const char *const folder[] = {"de", "en"};
    for (int l = 0; l < 2; l++) {
        char path[32], text[4096];
        size_t n = (size_t)snprintf(text, sizeof text, "%s", frame[l]);
        for (int i = 0; i < WORDS_OF_PAIR; i++) {
            unsigned left = (unsigned)(pair * WORDS_OF_PAIR + i) + 4000;
            for (; left; left /= 60)
                n += (size_t)snprintf(text + n, sizeof text - n, "%c%c",
                                      consonant[left % 12],
                                      vowel[left / 12 % 5]);
            n += (size_t)snprintf(text + n, sizeof text - n, "%s ",
                                  i % 2 ? "ungen" : "ings");
        }
        snprintf(path, sizeof path, "/made/%s/%d", folder[l], pair);
        check_ok(shelve_text(s->corpus, path, "", text));
    }
}

/* Which words a connection met before, and in which language, is nothing to
 * the index: one that has met none finds every text as it should be, and so
 * does one that met some of them. */
static void stems_that_are_kept_are_those_made_anew(void **state)
{
    (void)state;
    struct shelf s;
    size_t n_removed;
    shelf_new(&s);
    check_ok(db_begin(&s.db));
    for (int i = 0; i < PAIRS; i++) write_pair(&s, i);
    check_ok(shelve_end(s.corpus));
    check_ok(db_commit(&s.db));
    shelf_close(&s);
    shelf_open(&s);
    check_ok(words_check(&s.db));
    check_ok(corpus_remove(s.corpus, "/made/de", &n_removed));
    assert_int_equal(n_removed, PAIRS);
    shelf_close(&s);
    shelf_open(&s);
    check_ok(words_check(&s.db));
    shelf_free(&s);
}

static void an_older_store_gathers_words_from_its_next_text_on(void **state)
{
    (void)state;
    struct shelf s;
    int64_t bytes = 0, at_once = 0;
    shelf_new(&s);
    /* As a store is that was made before there was a word about it. */
    check_ok(db_exec(&s.db, "INSERT INTO chunk_fts(chunk_fts, rank)"
                            " VALUES('hashsize', 1048576);"
                            "DELETE FROM chunk_fts_config"
                            " WHERE k = 'usermerge'"));
    shelf_close(&s);
    shelf_open(&s);
    check_ok(db_begin(&s.db));
    write_pair(&s, 0);
    check_ok(shelve_end(s.corpus));
    check_ok(db_commit(&s.db));
    check_ok(db_int(&s.db, &bytes,
                    "SELECT v FROM chunk_fts_config WHERE k = 'hashsize'", ""));
    assert_int_equal(bytes, 16 << 20);
    check_ok(db_int(&s.db, &at_once,
                    "SELECT v FROM chunk_fts_config WHERE k = 'usermerge'",
                    ""));
    assert_int_equal(at_once, 8);
    shelf_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_stemmed_in_the_language_of_their_text),
        cmocka_unit_test(a_language_goes_with_its_last_text),
        cmocka_unit_test(an_older_index_is_made_anew),
        cmocka_unit_test(a_damaged_index_is_made_anew),
        cmocka_unit_test(scores_are_those_of_bm25),
        cmocka_unit_test(stems_that_are_kept_are_those_made_anew),
        cmocka_unit_test(an_older_store_gathers_words_from_its_next_text_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
