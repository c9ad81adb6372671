/* span_reader: the built-in reader, its gradient, and that it learns. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/model/arch.h"
#include "common/model/built_in.h"
#include "common/model/model.h"
#include "common/model/span_reader.h"
#include "tests/gradcheck.h"

static const struct reader_row rows[] = {
    {"Who composed the trio?",
     "The trio was composed by Clara Schumann in 1846.", "Clara Schumann"},
    {"When was the trio composed?",
     "The trio was composed by Clara Schumann in 1846.", "1846"},
    {"Who painted the chapel?",
     "The trio was composed by Clara Schumann in 1846.", ""},
    {"What cleans a wound?",
     "Wash your hands. Clean the wound with saline, then cover it.", "saline"},
};
enum { N_ROWS = sizeof rows / sizeof *rows };
static const struct examples all = {.n_rows = N_ROWS, .read = rows};
static const uint32_t order[] = {0, 1, 2, 3};

static struct model *small(void)
{
    const struct model_spec spec = {.kind = "reader",
                                    .task = MODEL_READER,
                                    .n_hidden = 3,
                                    .hidden = {4, 6, 4}};
    struct model *m = NULL;
    struct rng r;
    check_ok(model_new(&spec, &m));
    rng_init(&r, 7, 0, 0);
    arch_reader_draw(model_params(m), &r);
    /* Scores begin at zero, where half of the gradient is zero, too. */
    struct params *p = model_params(m);
    for (size_t i = 0; i < p->n_flat; i++) p->flat[i] += 0.1f * rng_normal(&r);
    return m;
}

struct checked {
    struct model *m;
    float *unused;
};

static enum tacit_err loss_of(void *ctx, double *loss)
{
    struct checked *c = ctx;
    float v = 0;
    TRY(model_gradient(c->m, &all, order, N_ROWS, c->unused, &v));
    *loss = (double)v;
    return TACIT_OK;
}

static void the_gradient_is_that_of_finite_differences(void **state)
{
    struct checked c = {.m = small()};
    struct params *p = model_params(c.m);
    float *g = calloc(p->n_flat, sizeof *g), loss = 0;
    double worst = 1;
    (void)state;
    c.unused = calloc(p->n_flat, sizeof *c.unused);
    check(g && c.unused);
    check_ok(model_gradient(c.m, &all, order, N_ROWS, g, &loss));
    /* Every parameter tensor has its turn; a few numbers of each. */
    for (size_t i = 0; i < p->n_params; i++) {
        size_t at = p->list[i].offset, n = p->list[i].len;
        check_ok(gradcheck_run(loss_of, &c, p->flat + at, g + at, n < 6 ? n : 6,
                               1e-2, &worst));
        check_near(worst, 0, 5e-3);
    }
    free(g);
    free(c.unused);
    model_free(c.m);
}

static void it_learns_a_few_rows(void **state)
{
    struct model *m = small();
    struct model_metrics before, after;
    const struct model_training how = {.optimizer = "adamw",
                                       .steps = 120,
                                       .batch = N_ROWS,
                                       .learning_rate = 0.02,
                                       .seed = 1};
    (void)state;
    check_ok(model_evaluate(m, &all, &before));
    check_ok(model_train(m, &how, &all));
    check_ok(model_evaluate(m, &all, &after));
    check(after.loss < 0.2 * before.loss);
    check_near(after.metric, 1, 1e-9);
    model_free(m);
}

static void read_text(struct span_reader *r, const char *question,
                      const char *passage, struct span_found *out)
{
    const struct reader_pair pair = {question, passage, strlen(question),
                                     strlen(passage)};
    check_ok(span_reader_read(r, &pair, out));
    check(out->end <= strlen(passage) && out->first <= out->end);
}

static void the_built_in_one_finds_a_name_and_a_year(void **state)
{
    static const char text[] =
        "Schumann was born in Leipzig. The trio was composed by Clara "
        "Schumann in 1846, and printed a year later.";
    struct span_reader *r = NULL;
    struct span_found a;
    (void)state;
    check_ok(span_reader_new(NULL, 0, &r));
    read_text(r, "When was the trio composed?", text, &a);
    check(strncmp(text + a.first, "1846", a.end - a.first) == 0);
    float margin = a.margin;
    read_text(r, "Who composed the trio?", text, &a);
    check(strncmp(text + a.first, "Clara Schumann", a.end - a.first) == 0);
    read_text(r, "Which bishop paid for the cathedral of Bergen?", text, &a);
    check(a.margin < margin);
    span_reader_free(r);
}

static void a_passage_without_words_has_no_answer(void **state)
{
    struct span_reader *r = NULL;
    struct span_found a;
    (void)state;
    check_ok(span_reader_new(NULL, 0, &r));
    read_text(r, "Who?", " -- ?! ", &a);
    check(a.first == a.end && isinf(a.margin));
    read_text(r, "", "", &a);
    check(a.first == a.end);
    read_text(r, "", "\xff\xfe words \x80", &a);
    span_reader_free(r);
}

static void a_long_passage_is_read_up_to_its_bound(void **state)
{
    struct span_reader *r = NULL;
    struct span_found a;
    size_t n = 40000;
    char *text = malloc(n + 1);
    (void)state;
    check(text != NULL);
    for (size_t i = 0; i < n; i++) text[i] = i % 4 == 3 ? ' ' : 'w';
    text[n] = '\0';
    check_ok(span_reader_new(NULL, 0, &r));
    read_text(r, "Which w?", text, &a);
    check(a.end <= 4 * READER_WORDS_MAX);
    span_reader_free(r);
    free(text);
}

static void other_weights_are_refused(void **state)
{
    struct span_reader *r = NULL;
    const float w[] = {1, 2, 3};
    (void)state;
    check_err(span_reader_new(w, 3, &r), TACIT_SHAPE);
}

static void an_answer_is_where_most_of_the_question_stands(void **state)
{
    static const char text[] =
        "In 1846 he died. The trio was composed in 1846 by his wife.";
    const struct word_table *words;
    struct arena a;
    struct reader_text t;
    const struct reader_pair pair = {"When was the trio composed?", text, 27,
                                     sizeof text - 1};
    uint32_t span[2];
    (void)state;
    arena_init(&a, 0);
    check_ok(built_in_words(&words));
    check_ok(reader_text_of(words, &pair, &a, &t));
    reader_text_find(&t, text, "1846", span);
    check(span[0] == span[1] && t.first[span[0]] == 42);
    reader_text_find(&t, text, "1847", span);
    check(span[0] == 0 && span[1] == 0);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_is_that_of_finite_differences),
        cmocka_unit_test(it_learns_a_few_rows),
        cmocka_unit_test(the_built_in_one_finds_a_name_and_a_year),
        cmocka_unit_test(a_passage_without_words_has_no_answer),
        cmocka_unit_test(a_long_passage_is_read_up_to_its_bound),
        cmocka_unit_test(other_weights_are_refused),
        cmocka_unit_test(an_answer_is_where_most_of_the_question_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
