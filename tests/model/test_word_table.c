#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/model/built_in.h"
#include "common/tensor/kernels.h"
#include "tests/model/table_file.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    rng_setup();
    arena_init(&arena, 64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static struct lexicon *some_words(void)
{
    static const char *const words[] = {"wound", "\xc3\xa9tude", "of"};
    static const size_t n_bytes[] = {5, 6, 2};
    struct lexicon *l = NULL;
    check_ok(lexicon_new(words, n_bytes, 3, 100, &l));
    return l;
}

static struct features features(const struct lexicon *l,
                                enum features_mode mode, const char *text)
{
    struct features f = {0};
    check_ok(features_of(l, &arena, mode, text, strlen(text), &f));
    for (size_t i = 1; i < f.n; i++) check(f.id[i - 1] < f.id[i]);
    for (size_t i = 0; i < f.n; i++) check(f.id[i] < lexicon_rows(l));
    return f;
}

static void a_known_word_is_its_own_row(void **state)
{
    (void)state;
    struct lexicon *l = some_words();
    struct features f = features(l, FEATURES_OF_TEXT, "Of the wound: WOUND");
    check(f.n > 2);
    assert_int_equal(f.id[0], 0);
    check_near(f.weight[0], 1.41421356, 1e-6); /* met twice */
    assert_int_equal(f.id[1], 2);
    check_near(f.weight[1], 1, 0);
    f = features(l, FEATURES_OF_TEXT, "\xc3\x89TUDE");
    assert_int_equal(f.n, 1);
    assert_int_equal(f.id[0], 1);
    f = features(l, FEATURES_OF_TEXT, "... --- ''");
    assert_int_equal(f.n, 0);
    lexicon_free(l);
}

static void an_unknown_word_is_its_n_grams_about_as_long_as_a_row(void **state)
{
    (void)state;
    struct lexicon *l = some_words();
    /* <dressing>: 8 of three, 7 of four, 6 of five characters. */
    struct features f = features(l, FEATURES_OF_TEXT, "dressing");
    double squares = 0;
    for (size_t i = 0; i < f.n; i++) {
        check(f.id[i] >= 3);
        squares += (double)f.weight[i] * f.weight[i];
    }
    check(f.n > 12 && f.n <= 21);
    check_near(squares, 1, 1e-5);
    /* Training wants a known word so, too. */
    f = features(l, FEATURES_AS_UNKNOWN, "wound");
    check(f.n > 6 && f.id[0] >= 3);
    /* One and two characters have n-grams with their marks. */
    f = features(l, FEATURES_OF_TEXT, "x");
    assert_int_equal(f.n, 1);
    lexicon_free(l);
}

static void a_list_of_words_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const twice[] = {"a", "b", "a"};
    static const size_t ones[] = {1, 1, 1}, none[] = {1, 0, 1};
    struct lexicon *l = NULL;
    check_err(lexicon_new(twice, ones, 3, 8, &l), TACIT_FORMAT);
    check_err(lexicon_new(twice, none, 3, 8, &l), TACIT_FORMAT);
    check_err(lexicon_new(twice, ones, 2, 0, &l), TACIT_LIMIT);
    check_err(lexicon_new(twice, ones, 2, FEATURES_ROWS_MAX, &l), TACIT_LIMIT);
    assert_null(l);
}

static void a_vector_is_the_sum_of_its_rows(void **state)
{
    (void)state;
    struct buf b;
    struct gguf *g = NULL;
    struct word_table *t = NULL;
    float v[TABLE_FILE_DIM];
    table_file(&b);
    check_ok(gguf_open_bytes(b.data, b.len, &g));
    check_ok(word_table_open(g, &t));
    assert_int_equal(word_table_dim(t), TABLE_FILE_DIM);
    check_ok(word_table_embed(t, &arena, "wound dressing wound", 20, v));
    check_near(v[0], 0.81649658, 1e-6); /* sqrt(2) : 1 */
    check_near(v[1], 0.57735027, 1e-6);
    check_near(v[2], 0, 0);
    check_ok(word_table_embed(t, &arena, "?!", 2, v));
    check_near(kernel_dot(v, v, TABLE_FILE_DIM), 0, 0);
    word_table_free(t);
    gguf_close(g);
    buf_release(&b);
}

static void a_damaged_table_is_refused_or_makes_numbers(void **state)
{
    (void)state;
    struct buf b;
    float v[WORD_TABLE_DIM_MAX];
    table_file(&b);
    for (size_t i = 0; i < 2 * b.len; i++) {
        struct gguf *g = NULL;
        struct word_table *t = NULL;
        size_t n = i < b.len ? i : b.len; /* cut, then flipped */
        if (i >= b.len) b.data[i - b.len] ^= 0xff;
        if (gguf_open_bytes(b.data, n, &g) == TACIT_OK &&
            word_table_open(g, &t) == TACIT_OK) {
            arena_reset(&arena);
            if (word_table_embed(t, &arena, "wound of care", 13, v) == TACIT_OK)
                for (size_t k = 0; k < word_table_dim(t); k++)
                    check(isfinite(v[k]));
        }
        err_clear();
        word_table_free(t);
        gguf_close(g);
        if (i >= b.len) b.data[i - b.len] ^= 0xff;
    }
    buf_release(&b);
}

static void what_is_no_table_is_refused_by_name(void **state)
{
    (void)state;
    struct gguf *g = NULL;
    struct word_table *t = NULL;
    struct gguf_writer w;
    const uint64_t dims[] = {32, 7};
    static const float rows[7 * 32];
    check_ok(gguf_writer_init(&w, NULL, GGUF_ALIGNMENT));
    gguf_put_u32(&w, "words.embedding_length", 32);
    gguf_put_u32(&w, "words.feature_version", FEATURES_VERSION + 1);
    gguf_put_tensor(&w, "table.weight", QUANT_F32, 2, dims);
    check_ok(gguf_put_data(&w, rows, sizeof rows));
    check_ok(gguf_end_tensor(&w));
    check_ok(gguf_writer_end(&w, NULL));
    check_ok(gguf_open_bytes(w.out.data, w.out.len, &g));
    assert_int_not_equal(word_table_open(g, &t), TACIT_OK);
    check(strstr(err_message(), "version") != NULL);
    err_clear();
    gguf_close(g);
    gguf_writer_release(&w);
}

static void the_built_in_table_is_small_and_says_where_it_comes_from(
    void **state)
{
    (void)state;
    struct gguf *g = NULL;
    struct word_table *t = NULL;
    char text[128];
    check(built_in_encoder_bytes() <= 8 << 20);
    check_ok(gguf_open_bytes(built_in_encoder(), built_in_encoder_bytes(), &g));
    check_ok(word_table_open(g, &t));
    gguf_text_or_empty(g, "general.license", text, sizeof text);
    assert_string_equal(text, "Apache-2.0");
    gguf_text_or_empty(g, "tacit.distill.teacher", text, sizeof text);
    assert_string_equal(text, "all-minilm-l6-v2");
    gguf_text_or_empty(g, "tacit.distill.seed", text, sizeof text);
    assert_string_equal(text, "1");
    gguf_text_or_empty(g, WORD_TABLE_PRINT, text, sizeof text);
    assert_int_equal(strlen(text), 64);
    word_table_free(t);
    gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_word_is_its_own_row),
        cmocka_unit_test(an_unknown_word_is_its_n_grams_about_as_long_as_a_row),
        cmocka_unit_test(a_list_of_words_that_is_none_is_refused),
        cmocka_unit_test(a_vector_is_the_sum_of_its_rows),
        cmocka_unit_test(a_damaged_table_is_refused_or_makes_numbers),
        cmocka_unit_test(what_is_no_table_is_refused_by_name),
        cmocka_unit_test(
            the_built_in_table_is_small_and_says_where_it_comes_from),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
