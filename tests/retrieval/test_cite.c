/* Citations in a text that is being written. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "common/base/rng.h"
#include "retrieval/cite.h"
#include "tests/retrieval/tiny_vocab.h"

static int follows(unsigned n_passages, const char *text)
{
    struct cite_state s = {0};
    return cite_follow(&s, n_passages, text, strlen(text));
}

static void only_passages_that_are_there_can_be_named(void **state)
{
    (void)state;
    static const char *const good[] = {"Give 2 mg [1].", "[1, 3]", "[2-3]",
                                       "[sic] 9",        "7 mg",   "[a 9]",
                                       "[3][1]",         "(9)",    "[ 9]",
                                       "[1] 9",          "[]9"};
    static const char *const bad[] = {"[4]", "[0]",    "[01]", "[1, 4", "[1-9",
                                      "[33", "[1,2;7", "x [9", "[[5"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!follows(3, good[i])) fail_msg("\"%s\" was refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (follows(3, bad[i])) fail_msg("\"%s\" was let through", bad[i]);
    check(follows(12, "[12]") && follows(12, "[1]") && !follows(12, "[13]"));
    check(!follows(0, "[1]"));
}

/* The same, found by reading back. */
static int names_what_is_not_there(const char *s, size_t n, unsigned passages)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t cited = 0;
        if (s[i] == '[' && cite_read(s + i, n - i, &cited) &&
            (!cited || cited >> passages))
            return 1;
    }
    return 0;
}

/* Whatever is drawn among the tokens that are left: no citation is wrong, and
 * right ones come. */
static void no_way_of_cutting_a_text_makes_a_wrong_citation(void **state)
{
    (void)state;
    static const char *const words[] = {"[",  "]",   "1",   "2",   "9",
                                        "[1", "[9",  "1]",  "9]",  ", ",
                                        "12", "[1,", " [2", "[12", "]9",
                                        "[[", "-",   "0",   " ",   "2]."};
    struct vocab *v = tiny_vocab(words, sizeof words / sizeof *words);
    struct cite_guard *g = NULL;
    struct rng r;
    size_t n_cited = 0;
    check_ok(cite_guard_new(v, &g));
    rng_init(&r, 8, 0, 0);
    for (unsigned turn = 0; turn < 400; turn++) {
        unsigned passages = turn % 5;
        struct cite_state s = {0};
        struct buf text;
        buf_init(&text, 0);
        for (int i = 0; i < 60; i++) {
            float logits[TINY_FIRST_WORD + TINY_WORDS] = {0};
            cite_forbid(g, &s, passages, logits);
            uint32_t token =
                TINY_FIRST_WORD +
                (uint32_t)rng_below(&r, sizeof words / sizeof *words);
            if (isinf(logits[token])) continue;
            size_t from = text.len;
            vocab_piece(v, (int32_t)token, &text);
            check(cite_follow(&s, passages, (const char *)text.data + from,
                              text.len - from));
        }
        if (!text.len) continue;
        const char *all = (const char *)text.data;
        if (names_what_is_not_there(all, text.len, passages))
            fail_msg("%u passages: \"%s\"", passages, buf_cstr(&text));
        for (size_t i = 0; i < text.len; i++) {
            uint64_t cited = 0;
            n_cited += cite_read(all + i, text.len - i, &cited) > 0;
        }
        buf_release(&text);
    }
    check(n_cited > 100);
    cite_guard_free(g);
    vocab_free(v);
}

static void citations_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        uint64_t cited;
    } cases[] = {{"[1]", 3, 1},         {"[2, 4] and", 6, 10},
                 {"[1-3]", 5, 7},       {"[3-1]", 5, 7},
                 {"[sic]", 0, 0},       {"[1", 0, 0},
                 {"[1x]", 0, 0},        {"[64]", 4, (uint64_t)1 << 63},
                 {"[99999999]", 10, 0}, {"[1-99999]", 9, UINT64_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t cited = 0;
        size_t n = cite_read(cases[i].text, strlen(cases[i].text), &cited);
        if (n != cases[i].n || cited != cases[i].cited)
            fail_msg("\"%s\": %zu, %llx", cases[i].text, n,
                     (unsigned long long)cited);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_passages_that_are_there_can_be_named),
        cmocka_unit_test(no_way_of_cutting_a_text_makes_a_wrong_citation),
        cmocka_unit_test(citations_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
