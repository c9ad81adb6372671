/* Words of a text: those of unicode61, at the same places. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "retrieval/stem.h"
#include "retrieval/stem_cut.h"

enum { TEXTS = 20000, PIECES_MAX = 60, TEXT_MAX = 1024 };

struct desk {
    struct db db;
    struct stem_unicode unicode;
    struct stem_tokens mine;
    size_t n_same; /* of mine that unicode61 made as well */
};

static void desk_new(struct desk *d)
{
    static const char *options[] = {"remove_diacritics", "0"};
    fts5_api *api;
    void *shared = NULL;
    *d = (struct desk){.n_same = 0};
    db_setup();
    assert_int_equal(sqlite3_open(":memory:", &d->db.sql), SQLITE_OK);
    check_ok(stem_fts5(&d->db, &api));
    assert_int_equal(api->xFindTokenizer(api, "unicode61", &shared,
                                         &d->unicode.methods),
                     SQLITE_OK);
    assert_int_equal(d->unicode.methods.xCreate(shared, options, 2,
                                                &d->unicode.self),
                     SQLITE_OK);
}

static void desk_free(struct desk *d)
{
    d->unicode.methods.xDelete(d->unicode.self);
    stem_tokens_release(&d->mine);
    db_close(&d->db);
}

/* The next word of unicode61's: mine is the same, or all parts of it, where
 * bytes make an ideograph. */
static int on_theirs(void *ctx, int flags, const char *word, int n, int first,
                     int end)
{
    struct desk *d = ctx;
    (void)flags;
    for (int at = 0; at < n;) {
        if (d->n_same >= d->mine.n) fail_msg("a word at %d is missing", first);
        const struct stem_token *t = &d->mine.list[d->n_same++];
        const int len = (int)t->n, is_last = at + len == n;
        if (len > n - at || (len < n && (signed char)word[0] > 0) ||
            t->first != first + at ||
            t->end != (is_last ? end : first + at + len) ||
            memcmp(d->mine.bytes + t->at, word + at, t->n) != 0)
            fail_msg("another word than that at %d", first);
        assert_int_equal(t->hash, stem_hash(word + at, t->n));
        at += len;
    }
    return SQLITE_OK;
}

static void compare(struct desk *d, const char *text, size_t n)
{
    assert_int_equal(stem_cut(&d->mine, &d->unicode, FTS5_TOKENIZE_DOCUMENT,
                              text, (int)n),
                     SQLITE_OK);
    d->n_same = 0;
    assert_int_equal(d->unicode.methods.xTokenize(d->unicode.self, d,
                                                  FTS5_TOKENIZE_DOCUMENT, text,
                                                  (int)n, on_theirs),
                     SQLITE_OK);
    assert_int_equal(d->n_same, d->mine.n);
}

/* Exactly as long as it is, so that a byte behind it is a fault. */
static void compare_alone(struct desk *d, const char *text, size_t n)
{
    char *alone = malloc(n + !n);
    assert_non_null(alone);
    memcpy(alone, text, n);
    compare(d, alone, n);
    free(alone);
}

/* Whole letters, halves of them, bytes of no letter. */
static size_t make_text(struct rng *r, char out[TEXT_MAX])
{
    static const char *const piece[] = {
        "the",
        "Ward",
        " ",
        " ",
        ". ",
        "-",
        "x1",
        "ZZ9",
        "ä",
        "Ö",
        "é",
        "e\xcc\x81",
        "’",
        "“ ",
        "–",
        "ß",
        "Дом",
        "ελ",
        "\xc3",
        "\xe2\x80",
        "\x80",
        "\xff",
        "\xf0\x9f\x98\x80",
        "ﬁ",
        "ª",
        "Ⅷ",
        "İ",
        "٣",
        "_",
        "'",
        "\n\t",
        "            ",
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
        "\xcc\x81",
        "ǅ",
        "א"};
    size_t n = 0, n_pieces = rng_below(r, PIECES_MAX);
    const uint64_t few = 1 + rng_below(r, sizeof piece / sizeof *piece);
    for (size_t i = 0; i < n_pieces && n + 64 < TEXT_MAX; i++) {
        if (rng_below(r, 16) == 0) {
            out[n++] = (char)rng_below(r, 128);
            continue;
        }
        const char *p = piece[rng_below(r, few)];
        memcpy(out + n, p, strlen(p));
        n += strlen(p);
    }
    return n;
}

static void words_are_those_of_unicode61(void **state)
{
    (void)state;
    struct desk d;
    struct rng r;
    char text[TEXT_MAX];
    desk_new(&d);
    rng_init(&r, 11, 0, 0);
    for (int i = 0; i < TEXTS; i++)
        compare_alone(&d, text, make_text(&r, text));
    desk_free(&d);
}

static void each_byte_is_a_word_or_none_as_there(void **state)
{
    (void)state;
    struct desk d;
    desk_new(&d);
    for (int c = 0; c < 256; c++)
        for (int before = 0; before < 256; before++) {
            const char text[] = {'a', (char)before, (char)c, 'B'};
            compare(&d, text, sizeof text);
            compare(&d, text + 1, 2);
        }
    desk_free(&d);
}

static void words_of_real_texts_are_the_same(void **state)
{
    (void)state;
    static const char *const names[] = {"tinyshakespeare/input.txt.gz",
                                        "squad/xquad.de.json.gz",
                                        "squad/xquad.es.json.gz",
                                        "medlars/corpus.jsonl.gz",
                                        "scifact/corpus.jsonl.gz"};
    struct desk d;
    desk_new(&d);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n;
        const char *path = check_data(names[i]);
        if (!path) skip_missing(names[i]);
        char *text = check_gunzip(path, &n);
        compare(&d, text, n);
        free(text);
    }
    desk_free(&d);
}

/* Bytes of the text are bytes of the words, wherever the stretch began. */
static void an_ideograph_is_a_word_at_its_place(void **state)
{
    (void)state;
    static const char text[] = "Plain words, x\xe6\xbc\xa2\xe5\xad\x97 "
                               "then \xe6\xbc\xa2\xe5\xad\x97y.";
    static const struct {
        const char *word;
        int first;
    } want[] = {
        {"plain", 0}, {"words", 6},         {"x\xe6\xbc\xa2\xe5\xad\x97", 13},
        {"then", 21}, {"\xe6\xbc\xa2", 26}, {"\xe5\xad\x97", 29},
        {"y", 32}};
    struct desk d;
    desk_new(&d);
    assert_int_equal(stem_cut(&d.mine, &d.unicode, FTS5_TOKENIZE_DOCUMENT, text,
                              (int)sizeof text - 1),
                     SQLITE_OK);
    assert_int_equal(d.mine.n, sizeof want / sizeof *want);
    for (size_t i = 0; i < d.mine.n; i++) {
        const struct stem_token *t = &d.mine.list[i];
        assert_int_equal(t->n, strlen(want[i].word));
        assert_memory_equal(d.mine.bytes + t->at, want[i].word, t->n);
        assert_int_equal(t->first, want[i].first);
        assert_int_equal((size_t)t->end, (size_t)t->first + t->n);
    }
    desk_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_those_of_unicode61),
        cmocka_unit_test(each_byte_is_a_word_or_none_as_there),
        cmocka_unit_test(words_of_real_texts_are_the_same),
        cmocka_unit_test(an_ideograph_is_a_word_at_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
