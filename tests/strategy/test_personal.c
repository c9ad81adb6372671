/* Strategies under which every device ends with a model of its own: what is
 * kept, what leaves, and where the personal model goes. */
#include "tests/check.h"

#include <string.h>

#include "common/base/rng.h"
#include "common/strategy/rows.h"

enum { N = 4, BASE = 3 };

static const float global[N] = {1, 2, 3, 4};
static struct strategy_config numbers;
static float state[N], next[N];

static int setup(void **unused)
{
    (void)unused;
    numbers = (struct strategy_config){.server_lr = 1,
                                       .lambda = 0.5,
                                       .personal = BASE};
    for (int i = 0; i < N; i++) state[i] = next[i] = 0;
    return 0;
}

static const struct strategy *find(const char *name)
{
    const struct strategy *s = NULL;
    check_ok(strategy_find(name, &s));
    check(s->flags & STRATEGY_PERSONAL && s->flags & STRATEGY_SUM);
    return s;
}

static struct strategy_local local(int fresh)
{
    return (struct strategy_local){.c = &numbers,
                                   .n = N,
                                   .global = global,
                                   .state = state,
                                   .next_state = next,
                                   .fresh = fresh,
                                   .learning_rate = 0.1,
                                   .steps = 5};
}

/* ---- FedPer -------------------------------------------------------------- */

static void fedper_begins_with_the_global_models_end(void **unused)
{
    (void)unused;
    float w[N];
    struct strategy_local l = local(1);
    memcpy(w, global, sizeof w);
    find("fedper")->begin(&l, w);
    check_tensor(w, global, N, 0);
}

static void fedper_goes_on_from_the_devices_own_end(void **unused)
{
    (void)unused;
    float w[N];
    struct strategy_local l = local(0);
    state[BASE] = -7;
    state[0] = 99; /* of the base nothing is taken from here */
    memcpy(w, global, sizeof w);
    find("fedper")->begin(&l, w);
    check_tensor(w, ((float[]){1, 2, 3, -7}), N, 0);
}

static void fedper_sends_nothing_of_the_personal_end(void **unused)
{
    (void)unused;
    float up[N];
    struct strategy_local l = local(0);
    const struct strategy *s = find("fedper");
    strategy_finish(s, &l, (float[]){1.5f, 1, 3, -9}, up, NULL);
    check_tensor(up, ((float[]){0.5f, -1, 0, 0}), N, 0);
    check_tensor(next, ((float[]){0, 0, 0, -9}), N, 0);
    /* So the coordinator's copy of it stays what it was. */
    float w[N] = {1, 2, 3, 4};
    struct strategy_server server = {.c = &numbers, .n = N, .weights = w};
    check_ok(strategy_apply(s, &server, up, NULL));
    check_tensor(w, ((float[]){1.5f, 1, 3, 4}), N, 0);
}

static void fedper_of_all_weights_is_local_training(void **unused)
{
    (void)unused;
    float up[N], w[N];
    struct strategy_local l = local(0);
    const struct strategy *s = find("fedper");
    numbers.personal = 0;
    strategy_finish(s, &l, (float[]){9, 8, 7, 6}, up, NULL);
    check_tensor(up, ((float[]){0, 0, 0, 0}), N, 0);
    memcpy(state, next, sizeof state);
    memcpy(w, global, sizeof w);
    s->begin(&l, w);
    check_tensor(w, ((float[]){9, 8, 7, 6}), N, 0);
}

/* ---- Ditto --------------------------------------------------------------- */

/* Where gradient descent on F(v) = a/2 (v - b)^2 with the hook ends. */
static double personal_end(double a, double b)
{
    const struct strategy *s = find("ditto");
    const struct strategy_local l = local(0);
    float v[N], g[N];
    memcpy(v, global, sizeof v);
    for (int t = 0; t < 3000; t++) {
        for (int i = 0; i < N; i++) g[i] = (float)(a * ((double)v[i] - b));
        s->personal(&l, v, g);
        for (int i = 0; i < N; i++) v[i] -= 0.01f * g[i];
    }
    return (double)v[1];
}

static void dittos_own_model_stands_between_both(void **unused)
{
    (void)unused;
    /* argmin a/2 (v - b)^2 + lambda/2 (v - x)^2, x = 2 */
    check_near(personal_end(1, 5), (5 + 0.5 * 2) / 1.5, 1e-4);
    numbers.lambda = 0; /* local training alone */
    check_near(personal_end(1, 5), 5, 1e-4);
    numbers.lambda = 40; /* the global model, nearly */
    check_near(personal_end(1, 5), (5 + 40.0 * 2) / 41, 1e-4);
}

static void dittos_global_model_is_fedavgs(void **unused)
{
    (void)unused;
    const struct strategy *s = find("ditto");
    float up[N];
    struct strategy_local l = local(0);
    check(!s->gradient && !s->begin && !s->apply && s->n_client == 1);
    strategy_finish(s, &l, (float[]){2, 2, 2, 2}, up, NULL);
    check_tensor(up, ((float[]){1, 0, -1, -2}), N, 0);
}

/* ---- fine-tuning --------------------------------------------------------- */

static void fine_tuning_sends_what_fedavg_sends_and_keeps_a_model(void **unused)
{
    (void)unused;
    const struct strategy *s = find("finetune"), *avg = NULL;
    float up[N], want[N];
    struct strategy_local l = local(1);
    const float w[N] = {0, 4, 3, 1};
    check_ok(strategy_find("fedavg", &avg));
    check(s->n_client == 1 && s->n_up == 1 && !s->gradient && !s->apply);
    strategy_finish(s, &l, w, up, NULL);
    strategy_finish(avg, &l, w, want, NULL);
    check_tensor(up, want, N, 0);
}

static void what_is_a_whole_model_is_told_from_other_states(void **unused)
{
    (void)unused;
    for (size_t i = 0; strategy_at(i); i++) {
        const struct strategy *s = strategy_at(i);
        check(strategy_keeps_model(s) == (strcmp(s->name, "ditto") == 0 ||
                                          strcmp(s->name, "finetune") == 0));
    }
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, setup)
        T(fedper_begins_with_the_global_models_end),
        T(fedper_goes_on_from_the_devices_own_end),
        T(fedper_sends_nothing_of_the_personal_end),
        T(fedper_of_all_weights_is_local_training),
        T(dittos_own_model_stands_between_both),
        T(dittos_global_model_is_fedavgs),
        T(fine_tuning_sends_what_fedavg_sends_and_keeps_a_model),
        T(what_is_a_whole_model_is_told_from_other_states),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
