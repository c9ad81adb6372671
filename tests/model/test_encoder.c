#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/rng.h"
#include "common/model/adapter.h"
#include "common/model/encoder.h"
#include "common/model/tokenizer.h"
#include "common/tensor/kernels.h"

static struct encoder *encoder;
static struct arena arena;

static int setup(void **state)
{
    (void)state;
    rng_setup();
    arena_init(&arena, 64 << 20);
    return encoder_new(&encoder) != TACIT_OK;
}

static int teardown(void **state)
{
    (void)state;
    encoder_free(encoder);
    arena_release(&arena);
    return 0;
}

static float cosine(const char *a, const char *b)
{
    float u[ENCODER_DIM], v[ENCODER_DIM];
    check_ok(encoder_embed(encoder, &arena, a, strlen(a), u));
    check_ok(encoder_embed(encoder, &arena, b, strlen(b), v));
    return kernel_dot(u, v, ENCODER_DIM);
}

static void words_of(const char *text, const char *want)
{
    struct word *w = NULL;
    size_t n = 0;
    char got[512] = "";
    check_ok(tokenizer_words(&arena, text, strlen(text), &w, &n));
    for (size_t i = 0; i < n; i++) {
        strcat(got, i ? " " : "");
        strcat(got, w[i].text);
        if (word_is_weak(&w[i])) strcat(got, "-");
    }
    assert_string_equal(got, want);
}

static void words_are_folded_and_split(void **state)
{
    (void)state;
    words_of("The patient's DRESSING, 2.5 mg", "the- patient dressing 2 5 mg");
    words_of("contributors' patents", "contributors patents");
    words_of("don\xe2\x80\x99t o'clock", "don o clock");
    /* Composed and decomposed accents, full-width letters, sharp s. */
    words_of("\xc3\x89tude E\xcc\x81tude", "\xc3\xa9tude \xc3\xa9tude");
    words_of("\xef\xbc\xb8 Stra\xc3\x9f"
             "e",
             "x strasse");
    /* Scripts without spaces: each character. */
    words_of("\xe5\x8c\xbb\xe9\x99\xa2", "\xe5\x8c\xbb \xe9\x99\xa2");
    /* Bytes that are not text separate words. */
    words_of("ab\xff"
             "cd",
             "ab cd");
    words_of("... --- ''", "");
    words_of("", "");
}

static void a_long_word_is_split_between_characters(void **state)
{
    (void)state;
    char text[3 * TOKENIZER_WORD_MAX + 1];
    struct word *w = NULL;
    size_t n = 0, total = 0;
    memset(text, 'x', sizeof text);
    memcpy(text, "\xc3\xa9", 2);
    check_ok(tokenizer_words(&arena, text, sizeof text, &w, &n));
    for (size_t i = 0; i < n; i++) {
        assert_true(strlen(w[i].text) <= TOKENIZER_WORD_MAX);
        total += strlen(w[i].text);
    }
    assert_int_equal(total, sizeof text);
}

static void vectors_are_unit_and_the_same_each_time(void **state)
{
    (void)state;
    float u[ENCODER_DIM], v[ENCODER_DIM];
    check_ok(encoder_embed(encoder, &arena, "renal impairment", 16, u));
    check_ok(encoder_embed(encoder, &arena, "renal impairment", 16, v));
    assert_memory_equal(u, v, sizeof u);
    check_near(kernel_dot(u, u, ENCODER_DIM), 1, 1e-5);
    check_ok(encoder_embed(encoder, &arena, "?!", 2, u));
    check_near(kernel_dot(u, u, ENCODER_DIM), 0, 0);
}

static void the_built_in_weights_never_change(void **state)
{
    (void)state;
    /* Rows of a store are valid only for this version: a change of the weights
     * or the tokenizer must change the name (printed by this test). */
    char version[ENCODER_VERSION_MAX];
    encoder_version(encoder, version);
    assert_string_equal(version, "static-2-e516eb957d");
}

static void vectors_are_the_same_bits_wherever_they_are_made(void **state)
{
    (void)state;
    /* The digest was printed by this test; it changes with the weights, the
     * words, and the order in which rows are added. */
    static const char *const texts[] = {
        "Give 5 mg of warfarin at night; the patient's INR is read at 8.",
        "zolgumerinib, trastublorex and prufimab of the brovasiplox",
        "\xc3\x89tude d'un cas \xef\xbc\xb8: Stra\xc3\x9f"
        "e \xe5\x8c\xbb\xe9\x99\xa2 \xff x",
        "?!"};
    static char all[3 * TOKENIZER_TEXT_MAX];
    struct digest_state state_of;
    struct digest d;
    float v[ENCODER_DIM];
    char hex[2 * sizeof d.b + 1];
    size_t n = 0;
    digest_begin(&state_of);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        check_ok(encoder_embed(encoder, &arena, texts[i], strlen(texts[i]), v));
        digest_add(&state_of, v, sizeof v);
    }
    for (uint32_t i = 0; n + 16 < sizeof all; i++)
        n += (size_t)snprintf(all + n, sizeof all - n, "%x%s", i * 2654435761u,
                              i % 3 ? " " : "the");
    check_ok(encoder_embed(encoder, &arena, all, n, v));
    digest_add(&state_of, v, sizeof v);
    digest_end(&state_of, &d);
    hex_encode(hex, d.b, sizeof d.b);
    assert_string_equal(
        hex,
        "b3e0ce36f167e44bce47ecf8927782a9b0f2c496e5a26af46ef176cbe0d7c3de");
}

static void related_texts_lie_closer(void **state)
{
    (void)state;
    check(cosine("dressings", "dressing") > 0.5f);
    check(cosine("heart attack", "myocardial infarction") > 0.3f);
    check(cosine("hypertension", "high blood pressure") > 0.5f);
    check(cosine("a drug against high blood pressure", "antihypertensive") >
          0.3f);
    check(cosine("dressing", "transfusion") < 0.4f);
    check(cosine("change the wound dressing", "wound dressings are changed") >
          cosine("change the wound dressing", "red cell transfusion rate") +
              0.2f);
    /* A word that it never saw is near its misspelling. */
    check(cosine("zolgumerinib", "zolgumerinibs") > 0.5f);
    /* Function words hardly count. */
    check(cosine("what is the sepsis", "sepsis") > 0.8f);
}

static void an_untrained_adapter_is_the_identity(void **state)
{
    (void)state;
    float w[9] = {0}, q[3] = {0.6f, 0, 0.8f}, out[3];
    adapter_apply(NULL, q, 3, out);
    check_tensor(out, q, 3, 1e-7);
    adapter_apply(w, q, 3, out);
    check_tensor(out, q, 3, 1e-7);
    w[1] = 1; /* q'_1 += q_0 */
    const float want[3] = {0.51449576f, 0.51449576f, 0.68599434f};
    adapter_apply(w, q, 3, out);
    check_tensor(out, want, 3, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_folded_and_split),
        cmocka_unit_test(a_long_word_is_split_between_characters),
        cmocka_unit_test(vectors_are_unit_and_the_same_each_time),
        cmocka_unit_test(the_built_in_weights_never_change),
        cmocka_unit_test(vectors_are_the_same_bits_wherever_they_are_made),
        cmocka_unit_test(related_texts_lie_closer),
        cmocka_unit_test(an_untrained_adapter_is_the_identity),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
