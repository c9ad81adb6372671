/* A plan with privacy, both ways: the protocol and the arithmetic alone come to
 * the same model to the bit, whoever drops out, and it learns. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "sims/fleet.h"
#include "sims/sites.h"

enum { ROUNDS = 6, FLAT_MOST = 64 };

static const char format[] =
    "name: private\n"
    "task: classify\n"
    "model: {kind: logistic}\n"
    "data:\n"
    "  source: patients\n"
    "  label: disease\n"
    "  columns: [{name: age, mean: 54, sd: 9}, {name: sex},\n"
    "            {name: thalach, mean: 150, sd: 22}, {name: oldpeak}]\n"
    "  standardise: plan\n"
    "  holdout: 0.25\n"
    "cohort: {size: 6, min_reports: 4, over_select: 1.4}\n"
    "rounds: %u\n"
    "strategy: {kind: %s}\n"
    "local: {batch: 100}\n"
    "privacy: {epsilon: 8, sample: 0.5, clip: 1}\n"
    "deadline: {stage: 30s, train: 2m}\n"
    "sim: {clients: 12, rows: 300, protocol: %s%s}\n";

struct course {
    unsigned n;
    float weights[ROUNDS][FLAT_MOST];
    double loss;
};

static void follow(struct course *c, const char *strategy, unsigned rounds,
                   const char *protocol, const char *more, unsigned threads)
{
    char text[2048];
    struct plan *plan = NULL;
    struct sites sites = {0};
    struct fleet *f = NULL;
    int n =
        snprintf(text, sizeof text, format, rounds, strategy, protocol, more);
    check(n > 0 && (size_t)n < sizeof text);
    check_ok(plan_parse("private.yaml", text, (size_t)n, &plan));
    check_ok(sites_invent(plan, &sites));
    const struct fleet_config config = {.plan = plan,
                                        .plan_text = text,
                                        .plan_bytes = (size_t)n,
                                        .data = sites.data,
                                        .n_clients = sites.n,
                                        .n_threads = threads};
    memset(c, 0, sizeof *c);
    check_ok(fleet_new(&config, &f));
    for (unsigned i = 0; i < rounds; i++) {
        struct fleet_round r;
        check_ok(fleet_round(f, &r));
        check_near(r.loss_before, 0, 0);
        const struct params *p = model_params(fleet_model(f));
        check(p->n_flat <= FLAT_MOST);
        if (i < ROUNDS)
            memcpy(c->weights[c->n++], p->flat, p->n_flat * sizeof(float));
        if (r.has_pooled) c->loss = r.pooled.loss;
    }
    fleet_free(f);
    sites_release(&sites);
    plan_free(plan);
}

static void both_protocols_and_any_threads_give_the_same_bits(void **state)
{
    (void)state;
    static const char *const kinds[] = {"fedavg", "fedavgm", "fedadam"};
    for (size_t i = 0; i < 3; i++) {
        struct course full, sum, one;
        const char *hard =
            ", dropout: 0.15, devices: {speed_sd: 1, crash: 0.1}";
        follow(&full, kinds[i], ROUNDS, "full", hard, 2);
        follow(&sum, kinds[i], ROUNDS, "sum", hard, 2);
        follow(&one, kinds[i], ROUNDS, "sum", hard, 1);
        check(full.n == ROUNDS);
        check(memcmp(full.weights, sum.weights, sizeof sum.weights) == 0);
        check(memcmp(one.weights, sum.weights, sizeof sum.weights) == 0);
        check(memcmp(sum.weights[0], sum.weights[ROUNDS - 1],
                     sizeof sum.weights[0]) != 0);
    }
}

static void the_noisy_sum_learns(void **state)
{
    (void)state;
    struct course few, many;
    follow(&few, "fedavgm, server_learning_rate: 0.5", 1, "sum", "", 2);
    follow(&many, "fedavgm, server_learning_rate: 0.5", 40, "sum", "", 2);
    check(many.loss < 0.95 * few.loss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_protocols_and_any_threads_give_the_same_bits),
        cmocka_unit_test(the_noisy_sum_learns),
    };
    rng_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
