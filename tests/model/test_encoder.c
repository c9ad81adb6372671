#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/model/adapter.h"
#include "common/model/encoder.h"
#include "common/tensor/kernels.h"
#include "common/tensor/optim.h"

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
        if (w[i].weak) strcat(got, "-");
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

static void features_rise_and_are_unique(void **state)
{
    (void)state;
    struct features f, g;
    const char *text = "wound wound care of the wound";
    check_ok(tokenizer_features(&arena, text, strlen(text), &f));
    check(f.n > 5);
    for (size_t i = 1; i < f.n; i++) check(f.id[i - 1] < f.id[i]);
    for (size_t i = 0; i < f.n; i++) check(f.id[i] < TOKENIZER_BUCKETS);
    /* Three times the same word weighs sqrt(3) times once. */
    check_ok(tokenizer_features(&arena, "wound", 5, &f));
    check_ok(tokenizer_features(&arena, "wound wound wound", 17, &g));
    assert_int_equal(f.n, g.n);
    for (size_t i = 0; i < f.n; i++)
        check_near(g.weight[i], 1.7320508 * (double)f.weight[i], 1e-5);
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
    assert_string_equal(version, "static-1-4379beb478");
}

static void related_texts_lie_closer(void **state)
{
    (void)state;
    check(cosine("dressings", "dressing") > 0.15f);
    check(cosine("anticoagulant", "anticoagulation") > 0.15f);
    check(cosine("dressing", "transfusion") < 0.1f);
    check(cosine("change the wound dressing", "wound dressings are changed") >
          cosine("change the wound dressing", "red cell transfusion rate") +
              0.2f);
    /* Function words hardly count. */
    check(cosine("what is the sepsis", "sepsis") > 0.9f);
}

static void training_the_whole_encoder_pulls_pairs_together(void **state)
{
    (void)state;
    const char *q[] = {"blood thinner", "sugar too low", "water tablet",
                       "heart attack"};
    const char *p[] = {"anticoagulant therapy", "hypoglycaemia",
                       "loop diuretic", "myocardial infarction"};
    struct encoder *e = NULL;
    struct text qs[4], ps[4];
    struct optim *o = NULL;
    float first = 0, last = 0;
    check_ok(encoder_new(&e));
    for (int i = 0; i < 4; i++) {
        qs[i] = (struct text){q[i], strlen(q[i])};
        ps[i] = (struct text){p[i], strlen(p[i])};
    }
    struct params *w = encoder_params(e);
    float *grad = malloc(w->n_flat * sizeof *grad);
    const struct optim_config c = {"sgd", 0.1, 0.9, 0};
    check_ok(optim_new(&c, w->n_flat, &o));
    for (int i = 0; i < 10; i++) {
        check_ok(encoder_gradient(e, qs, ps, 4, 0.1, grad, &last));
        if (i == 0) first = last;
        optim_step(o, w->flat, grad);
    }
    check(last < 0.2f * first);
    char before[ENCODER_VERSION_MAX], after[ENCODER_VERSION_MAX];
    encoder_version(encoder, before);
    encoder_version(e, after);
    assert_string_not_equal(before, after);
    check_err(encoder_gradient(e, qs, ps, 0, 0.1, grad, &last), TACIT_LIMIT);
    free(grad);
    optim_free(o);
    encoder_free(e);
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
        cmocka_unit_test(features_rise_and_are_unique),
        cmocka_unit_test(vectors_are_unit_and_the_same_each_time),
        cmocka_unit_test(the_built_in_weights_never_change),
        cmocka_unit_test(related_texts_lie_closer),
        cmocka_unit_test(training_the_whole_encoder_pulls_pairs_together),
        cmocka_unit_test(an_untrained_adapter_is_the_identity),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
