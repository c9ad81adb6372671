/* optim: ten steps of each kind against NumPy (tests/golden/ops_golden.py). */
#include "tests/check.h"

#include <string.h>

#include "common/tensor/optim.h"
#include "tests/golden/ops_golden.h"

enum { N = 4, STEPS = 10 };

static void check_steps(const struct optim_config *c, const float *want)
{
    static const float scale[N] = {0.5F, 1, 2, 4};
    struct optim *o = NULL;
    float w[N], g[N];
    memcpy(w, g_start, sizeof w);
    check_ok(optim_new(c, N, &o));
    for (size_t t = 0; t < STEPS; t++) {
        for (size_t i = 0; i < N; i++) g[i] = (w[i] - (float)i) * scale[i];
        optim_step(o, w, g);
        check_tensor(w, want + t * N, N, 2e-5);
    }
    optim_free(o);
}

static void sgd_takes_the_steps_of_numpy(void **state)
{
    (void)state;
    check_steps(&(struct optim_config){"sgd", 0.1, 0, 0}, g_sgd);
    check_steps(&(struct optim_config){"sgd", 0.05, 0.9, 0.01}, g_sgd_momentum);
}

static void adam_takes_the_steps_of_numpy(void **state)
{
    (void)state;
    check_steps(&(struct optim_config){"adam", 0.05, 0, 0.1}, g_adam);
    /* Its momentum is beta1, whatever the plan says of SGD's. */
    check_steps(&(struct optim_config){"adam", 0.05, 0.9, 0.1}, g_adam);
}

static void adamw_takes_the_steps_of_numpy(void **state)
{
    (void)state;
    check_steps(&(struct optim_config){"adamw", 0.05, 0, 0.1}, g_adamw);
}

static void adam_without_a_gradient_stays(void **state)
{
    (void)state;
    static const char *const kinds[] = {"sgd", "adam", "adamw"};
    for (size_t k = 0; k < 3; k++) {
        struct optim *o = NULL;
        float w[2] = {1, -1};
        const float g[2] = {0};
        check_ok(
            optim_new(&(struct optim_config){kinds[k], 0.1, 0.5, 0}, 2, &o));
        for (int t = 0; t < 3; t++) optim_step(o, w, g);
        check(w[0] == 1 && w[1] == -1);
        optim_free(o);
    }
}

static void two_optimisers_do_not_share_state(void **state)
{
    (void)state;
    struct optim *a = NULL, *b = NULL;
    const struct optim_config c = {"adam", 0.05, 0, 0};
    const float g[1] = {2};
    float wa[1] = {1}, wb[1] = {1};
    check_ok(optim_new(&c, 1, &a));
    check_ok(optim_new(&c, 1, &b));
    for (int t = 0; t < 5; t++) optim_step(a, wa, g);
    for (int t = 0; t < 5; t++) optim_step(b, wb, g);
    check(memcmp(wa, wb, sizeof wa) == 0);
    optim_free(a);
    optim_free(b);
}

static void an_unknown_kind_is_unsupported(void **state)
{
    (void)state;
    struct optim *o = NULL;
    check_err(optim_new(&(struct optim_config){"lion", 1, 0, 0}, 3, &o),
              TACIT_UNSUPPORTED);
    check(o == NULL);
    optim_free(NULL);
}

static void nothing_to_train_is_fine(void **state)
{
    (void)state;
    struct optim *o = NULL;
    check_ok(optim_new(&(struct optim_config){"adamw", 1, 0, 0}, 0, &o));
    optim_step(o, NULL, NULL);
    optim_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_takes_the_steps_of_numpy),
        cmocka_unit_test(adam_takes_the_steps_of_numpy),
        cmocka_unit_test(adamw_takes_the_steps_of_numpy),
        cmocka_unit_test(adam_without_a_gradient_stays),
        cmocka_unit_test(two_optimisers_do_not_share_state),
        cmocka_unit_test(an_unknown_kind_is_unsupported),
        cmocka_unit_test(nothing_to_train_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
