/* strategy and the pure parts of models. */
#include "tests/check.h"

#include <string.h>

#include "coordinator/models.h"
#include "coordinator/strategy.h"

static void fedavg_adds_the_scaled_mean(void **unused)
{
    (void)unused;
    const struct strategy *s = NULL;
    float w[3] = {1, -2, 0.5f};
    const float mean[3] = {0.5f, 4, -0.25f};
    check_ok(strategy_find("fedavg", &s));
    s->apply(w, mean, 3, 1.0);
    check_tensor(w, ((float[]){1.5f, 2, 0.25f}), 3, 0);
    s->apply(w, mean, 3, 0.5);
    check_tensor(w, ((float[]){1.75f, 4, 0.125f}), 3, 0);
}

static void an_unknown_strategy_names_the_known(void **unused)
{
    (void)unused;
    const struct strategy *s = NULL;
    enum tacit_err err = strategy_find("fedsgd", &s);
    check(err == TACIT_NOTFOUND && s == NULL);
    check(strstr(err_message(), "fedavg") != NULL);
    err_clear();
    check(strategy_at(0) != NULL && strategy_at(99) == NULL);
}

static void over_selection_rounds_up_and_stays_in_bounds(void **unused)
{
    (void)unused;
    struct plan p = {.cohort_size = 4, .over_select = 1.3};
    check(models_invite_max(&p) == 6);
    p.over_select = 1.0;
    check(models_invite_max(&p) == 4);
    p.over_select = 1.25;
    check(models_invite_max(&p) == 5);
    p.cohort_size = 10;
    p.over_select = 1.1; /* 11.000000000000002 in binary */
    check(models_invite_max(&p) == 11);
    p.cohort_size = 128;
    p.over_select = 2;
    check(models_invite_max(&p) == 128);
}

static void a_plan_becomes_a_spec_and_a_ring(void **unused)
{
    (void)unused;
    struct plan p = {.task = PLAN_CLASSIFY,
                     .model = "mlp",
                     .n_hidden = 1,
                     .hidden = {16},
                     .dim = 128,
                     .n_features = 13,
                     .ring_bits = 24,
                     .clip = 4};
    struct model_spec spec;
    struct ring_layout layout;
    models_spec(&p, &spec);
    check(spec.task == MODEL_CLASSIFY && spec.n_inputs == 13);
    check(spec.n_hidden == 1 && spec.hidden[0] == 16);
    p.task = PLAN_RETRIEVER;
    models_spec(&p, &spec);
    check(spec.task == MODEL_RETRIEVER && spec.n_inputs == 128);
    models_layout(&p, 50, &layout);
    check(layout.n_params == 50 && layout.n_metrics == MODELS_METRICS);
    check(layout.clients_max == 128 && layout.ring_bits == 24);
    check(layout.clip == 4 && layout.metric_max == 64);
    check(ring_coords(&layout) == 50 + 2 + 4 + RING_CHECKS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fedavg_adds_the_scaled_mean),
        cmocka_unit_test(an_unknown_strategy_names_the_known),
        cmocka_unit_test(over_selection_rounds_up_and_stays_in_bounds),
        cmocka_unit_test(a_plan_becomes_a_spec_and_a_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
