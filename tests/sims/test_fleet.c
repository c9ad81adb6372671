#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/trainer.h"
#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/model/safetensors.h"
#include "coordinator/aggregate.h"
#include "coordinator/models.h"
#include "sims/fleet.h"
#include "sims/fleet_parts.h"
#include "sims/sites.h"

enum { PARAMS_MOST = 64, CLIENTS_MOST = 16, TEXT_MAX = 2048 };

/* A plan over the invented patients; %s is what a test varies. */
static const char plan_format[] =
    "name: small\n"
    "task: classify\n"
    "model: {kind: logistic}\n"
    "data:\n"
    "  source: patients\n"
    "  label: disease\n"
    "  columns: [{name: age}, {name: sex}, {name: cp, values: [1, 2, 3, 4]},\n"
    "            {name: thalach}, {name: oldpeak}]\n"
    "  standardise: site\n"
    "  holdout: 0.25\n"
    "deadline: {stage: 30s, train: 10m}\n"
    "%s";

/* A fleet with everything it borrows. */
struct run {
    char text[TEXT_MAX];
    struct plan *plan;
    struct sites sites;
    atomic_int stop;
    struct fleet *fleet;
};

static void read_plan(struct run *r, const char *rest)
{
    int n = snprintf(r->text, sizeof r->text, plan_format, rest);
    check(n > 0 && (size_t)n < sizeof r->text);
    check_ok(plan_parse("small.yaml", r->text, (size_t)n, &r->plan));
    check_ok(sites_invent(r->plan, &r->sites));
}

static enum tacit_err launch(struct run *r, size_t n_clients,
                             unsigned n_threads)
{
    const struct fleet_config c = {.plan = r->plan,
                                   .plan_text = r->text,
                                   .plan_bytes = strlen(r->text),
                                   .data = r->sites.data,
                                   .n_clients = n_clients,
                                   .n_threads = n_threads,
                                   .stop = &r->stop};
    return fleet_new(&c, &r->fleet);
}

static void start(struct run *r, const char *rest, unsigned n_threads)
{
    memset(r, 0, sizeof *r);
    read_plan(r, rest);
    check_ok(launch(r, r->sites.n, n_threads));
}

static void finish(struct run *r)
{
    fleet_free(r->fleet);
    sites_release(&r->sites);
    plan_free(r->plan);
}

static size_t copy_weights(const struct run *r, float out[PARAMS_MOST])
{
    const struct params *p = model_params(fleet_model(r->fleet));
    check(p->n_flat <= PARAMS_MOST);
    memcpy(out, p->flat, p->n_flat * sizeof *out);
    return p->n_flat;
}

/* ---- the closed form ---------------------------------------------------- */

/* What every client would send in this round: clipped updates and weights,
 * trained here one by one, without any protocol. */
struct locals {
    size_t n_clients, n_flat;
    float before[PARAMS_MOST];
    double delta[CLIENTS_MOST][PARAMS_MOST], weight[CLIENTS_MOST];
    double metrics[CLIENTS_MOST][TASK_METRICS];
};

static void train_locally(const struct run *r, uint32_t round, struct locals *l)
{
    struct model *m = NULL;
    float delta[PARAMS_MOST];
    l->n_clients = r->sites.n;
    l->n_flat = copy_weights(r, l->before);
    struct aggregate *a = NULL;
    check_ok(aggregate_new(r->plan, &a));
    m = a->model;
    memcpy(model_params(m)->flat, l->before, l->n_flat * sizeof *delta);
    for (size_t i = 0; i < l->n_clients; i++) {
        struct trained t = {.up = delta};
        const struct trainer_task task = {.plan = r->plan,
                                          .strategy = a->strategy,
                                          .numbers = &a->numbers,
                                          .round = round,
                                          .client = i,
                                          .work = 1};
        double norm = 0;
        check_ok(trainer_run(&task, m, &r->sites.data[i], &t));
        for (size_t k = 0; k < l->n_flat; k++)
            norm += (double)delta[k] * (double)delta[k];
        norm = sqrt(norm);
        double shrink = norm > r->plan->clip ? r->plan->clip / norm : 1;
        for (size_t k = 0; k < l->n_flat; k++)
            l->delta[i][k] = shrink * (double)delta[k];
        l->weight[i] = (double)t.weight / RING_WEIGHT_MAX;
        memcpy(l->metrics[i], t.metrics, sizeof t.metrics);
    }
    aggregate_free(a);
}

/* Largest difference of the fleet's new weights from the weighted average of
 * these clients' models. */
static double distance(const struct run *r, const struct locals *l,
                       unsigned members)
{
    const float *got = model_params(fleet_model(r->fleet))->flat;
    double worst = 0;
    for (size_t k = 0; k < l->n_flat; k++) {
        double sum = 0, weight = 0;
        for (size_t i = 0; i < l->n_clients; i++) {
            if (!(members >> i & 1)) continue;
            sum += l->weight[i] * l->delta[i][k];
            weight += l->weight[i];
        }
        double want = (double)l->before[k] + sum / weight;
        worst = fmax(worst, fabs(want - (double)got[k]));
    }
    return worst;
}

/* Half a step of the ring for each client, relative to the weight, and one
 * rounding of a float. */
static double tolerance(const struct run *r, const struct locals *l)
{
    struct ring_layout layout;
    double weight = 0, largest = 0;
    const struct strategy *s = NULL;
    check_ok(strategy_find("fedavg", &s));
    task_layout(r->plan, s, l->n_flat, &layout);
    for (size_t i = 0; i < l->n_clients; i++) weight += l->weight[i];
    for (size_t k = 0; k < l->n_flat; k++)
        largest = fmax(largest, fabs((double)l->before[k]) + r->plan->clip);
    double step = r->plan->clip / (double)ring_limit(&layout);
    return .5 * step * (double)l->n_clients / weight + 1.2e-7 * largest;
}

/* The same for a mean metric. */
static double tolerance_metric(const struct run *r, const struct locals *l)
{
    struct ring_layout layout;
    double weight = 0;
    const struct strategy *s = NULL;
    check_ok(strategy_find("fedavg", &s));
    task_layout(r->plan, s, l->n_flat, &layout);
    for (size_t i = 0; i < l->n_clients; i++) weight += l->weight[i];
    return .5 * layout.metric_max / (double)ring_limit(&layout) *
               (double)l->n_clients / weight +
           1e-9;
}

static void check_average(const char *rest)
{
    struct run r;
    struct fleet_round round;
    struct locals l;
    start(&r, rest, 2);
    for (uint32_t i = 1; i <= 4; i++) {
        double weight = 0, want[TASK_METRICS] = {0};
        train_locally(&r, i, &l);
        check_ok(fleet_round(r.fleet, &round));
        check(round.round == i && round.n_inputs == l.n_clients);
        check(distance(&r, &l, ~0U) <= tolerance(&r, &l));
        check(distance(&r, &l, 1) > 10 * tolerance(&r, &l));
        for (size_t c = 0; c < l.n_clients; c++) {
            weight += l.weight[c];
            for (size_t m = 0; m < TASK_METRICS; m++)
                want[m] += l.weight[c] * l.metrics[c][m];
        }
        check_near(round.loss_before, want[0] / weight,
                   tolerance_metric(&r, &l));
        check_near(round.loss_after, want[1] / weight,
                   tolerance_metric(&r, &l));
        check(round.has_metric);
        check_near(round.metric, want[2] / want[3],
                   3 * tolerance_metric(&r, &l));
    }
    finish(&r);
}

static void the_federated_model_is_the_average_of_the_local_ones(void **state)
{
    (void)state;
    check_average("rounds: 4\n"
                  "cohort: {size: 6, min_reports: 6, over_select: 1.0}\n"
                  "local: {steps: 10, batch: 8, learning_rate: 0.1}\n"
                  "weighting: {by: uniform}\nclip: 4\n"
                  "sim: {clients: 6, rows: 30}\n");
}

static void it_is_weighted_by_examples_where_the_plan_says_so(void **state)
{
    (void)state;
    check_average("rounds: 4\n"
                  "cohort: {size: 5, min_reports: 5, over_select: 1.0}\n"
                  "local: {steps: 10, batch: 8, learning_rate: 0.1}\n"
                  "weighting: {by: examples, cap: 60}\nclip: 4\n"
                  "sim: {clients: 5, rows: 40}\n");
}

static void an_update_over_the_clip_counts_with_the_clip(void **state)
{
    (void)state;
    check_average("rounds: 4\n"
                  "cohort: {size: 4, min_reports: 4, over_select: 1.0}\n"
                  "local: {steps: 30, batch: 8, learning_rate: 1.0}\n"
                  "weighting: {by: uniform}\nclip: 0.05\n"
                  "sim: {clients: 4, rows: 30}\n");
}

static void a_ring_of_24_bits_averages_too(void **state)
{
    (void)state;
    check_average("rounds: 4\n"
                  "cohort: {size: 4, min_reports: 4, over_select: 1.0}\n"
                  "local: {steps: 10, batch: 8, learning_rate: 0.1}\n"
                  "weighting: {by: uniform}\nclip: 1\n"
                  "secagg: {ring_bits: 24}\n"
                  "sim: {clients: 4, rows: 30, partition: iid}\n");
}

static size_t count_bits(unsigned v)
{
    size_t n = 0;
    for (; v; v >>= 1) n += v & 1;
    return n;
}

/* Whoever drops out when, the new model is the average of exactly as many
 * clients as the round says, and of one such set only. */
static void a_round_with_drop_outs_is_the_average_of_the_others(void **state)
{
    (void)state;
    struct run r;
    struct fleet_round round;
    struct locals l;
    unsigned n_lost = 0, n_again = 0;
    int64_t clock = 0;
    start(&r,
          "rounds: 12\n"
          "cohort: {size: 6, min_reports: 3, over_select: 1.0}\n"
          "local: {steps: 10, batch: 8, learning_rate: 0.1}\n"
          "weighting: {by: uniform}\nclip: 4\n"
          "sim: {clients: 6, rows: 30, dropout: 0.4}\n",
          2);
    for (uint32_t i = 1; i <= 12; i++) {
        unsigned n_sets = 0;
        train_locally(&r, i, &l);
        check_ok(fleet_round(r.fleet, &round));
        check(round.n_inputs >= 3 && round.n_inputs <= 6);
        for (unsigned set = 1; set < 64; set++)
            n_sets += count_bits(set) == round.n_inputs &&
                      distance(&r, &l, set) <= 2 * tolerance(&r, &l);
        check(n_sets == 1);
        n_lost += 6 - round.n_inputs;
        n_again += round.n_attempts - 1;
        check(round.virtual_ms >= clock);
        clock = round.virtual_ms;
    }
    check(n_lost > 0 && n_again > 0);
    check(clock >= 30000); /* somebody was waited for */
    finish(&r);
}

/* ---- the same to the bit ------------------------------------------------ */

static const char lively[] =
    "rounds: 6\n"
    "cohort: {size: 8, min_reports: 5, over_select: 1.3}\n"
    "local: {steps: 10, batch: 8, learning_rate: 0.1}\n"
    "sim: {clients: 30, rows: 30, dropout: 0.15}\n";

struct course {
    float weights[PARAMS_MOST];
    size_t n;
    struct fleet_round rounds[6];
};

static void follow(struct course *c, const char *rest, unsigned n_threads)
{
    struct run r;
    memset(c, 0, sizeof *c);
    start(&r, rest, n_threads);
    for (size_t i = 0; i < 6; i++) {
        check_ok(fleet_round(r.fleet, &c->rounds[i]));
        c->rounds[i].wall_ms = 0;
    }
    c->n = copy_weights(&r, c->weights);
    finish(&r);
}

static int same(const struct course *a, const struct course *b)
{
    int is_same = a->n == b->n &&
                  memcmp(a->weights, b->weights, a->n * sizeof(float)) == 0;
    for (size_t i = 0; i < 6; i++) {
        const struct fleet_round *x = &a->rounds[i], *y = &b->rounds[i];
        is_same &=
            x->n_attempts == y->n_attempts && x->n_inputs == y->n_inputs &&
            x->virtual_ms == y->virtual_ms &&
            memcmp(&x->loss_after, &y->loss_after, sizeof(double)) == 0 &&
            memcmp(&x->pooled.loss, &y->pooled.loss, sizeof(double)) == 0;
    }
    return is_same;
}

static void same_seed_same_bits_for_1_2_and_4_threads(void **state)
{
    (void)state;
    struct course one, other;
    follow(&one, lively, 1);
    for (unsigned threads = 1; threads <= 4; threads *= 2) {
        follow(&other, lively, threads);
        check(same(&one, &other));
    }
}

static void another_seed_is_another_run(void **state)
{
    (void)state;
    struct course a, b;
    char text[512];
    follow(&a, lively, 1);
    snprintf(text, sizeof text, "%sseed: 2\n", lively);
    follow(&b, text, 1);
    check(!same(&a, &b));
    snprintf(text, sizeof text, "%sseed: 1\n", lively); /* what none means */
    follow(&b, text, 1);
    check(same(&a, &b));
}

/* ---- what a run leaves -------------------------------------------------- */

static void the_file_holds_the_models_weights(void **state)
{
    (void)state;
    struct run r;
    struct fleet_round round;
    struct model *m = NULL;
    float got[PARAMS_MOST];
    start(&r, lively, 1);
    struct aggregate *a = NULL;
    check_ok(aggregate_new(r.plan, &a));
    m = a->model;
    for (int i = 0; i < 3; i++) { /* version 0, 1, 2 */
        const struct buf *file = NULL;
        check_ok(fleet_file(r.fleet, &file));
        size_t n = copy_weights(&r, got);
        check_ok(safetensors_decode(file->data, file->len, model_params(m)));
        check(memcmp(model_params(m)->flat, got, n * sizeof *got) == 0);
        check_ok(fleet_round(r.fleet, &round));
    }
    aggregate_free(a);
    finish(&r);
}

static void the_pooled_figures_are_those_of_all_held_out_rows(void **state)
{
    (void)state;
    struct run r;
    struct fleet_round round;
    double loss = 0, right = 0;
    size_t n = 0;
    start(&r, lively, 1);
    check_ok(fleet_round(r.fleet, &round));
    for (size_t i = 0; i < r.sites.n; i++) {
        const struct examples *test = &r.sites.data[i].test;
        float p[64];
        check(test->n_rows <= 64);
        if (test->n_rows == 0) continue;
        check_ok(model_predict(fleet_model(r.fleet), test, p));
        for (size_t k = 0; k < test->n_rows; k++) {
            int is_ill = test->y[k] > .5F;
            right += (p[k] > .5F) == is_ill;
            loss -= log(is_ill ? (double)p[k] : 1 - (double)p[k]);
        }
        n += test->n_rows;
    }
    check(round.has_pooled && round.pooled.n_rows == n);
    check_near(round.pooled.loss, loss / (double)n, 1e-5);
    check_near(round.pooled.metric, right / (double)n, 1e-9);
    finish(&r);
}

static void a_federation_learns(void **state)
{
    (void)state;
    struct run r;
    struct fleet_round first, last;
    start(&r,
          "rounds: 30\n"
          "cohort: {size: 8, min_reports: 6, over_select: 1.2}\n"
          "local: {steps: 10, batch: 16, learning_rate: 0.1}\n"
          "sim: {clients: 40, rows: 40, dropout: 0.05}\n",
          0);
    check_ok(fleet_round(r.fleet, &first));
    for (int i = 1; i < 30; i++) check_ok(fleet_round(r.fleet, &last));
    check(last.loss_after <= last.loss_before);
    check(last.pooled.loss < .9 * first.loss_before);
    check(last.pooled.metric > .75);
    finish(&r);
}

/* ---- what cannot work --------------------------------------------------- */

static void too_few_clients_are_refused_by_number(void **state)
{
    (void)state;
    struct run r = {.plan = NULL};
    read_plan(&r, lively);
    check(launch(&r, 4, 1) == TACIT_LIMIT);
    check(strstr(err_message(), "4 clients") && strstr(err_message(), "5 "));
    err_clear();
    check(launch(&r, 1, 1) == TACIT_LIMIT);
    check(strstr(err_message(), "1 clients") != NULL);
    err_clear();
    check_err(launch(&r, FLEET_CLIENTS_MAX + 1, 1), TACIT_LIMIT);
    check_err(launch(&r, 0, 1), TACIT_LIMIT);
    check(r.fleet == NULL);
    check_ok(launch(&r, 5, 1));
    finish(&r);
}

/* All must report and most vanish: it gives up, says so, and keeps its model.
 */
static void a_round_that_cannot_commit_is_given_up(void **state)
{
    (void)state;
    struct run r;
    struct fleet_round round = {.round = 77};
    float before[PARAMS_MOST], after[PARAMS_MOST];
    start(&r,
          "rounds: 3\n"
          "cohort: {size: 6, min_reports: 6, over_select: 1.0}\n"
          "sim: {clients: 6, rows: 30, dropout: 0.9}\n",
          1);
    size_t n = copy_weights(&r, before);
    for (int i = 0; i < 2; i++) { /* asking again is allowed */
        check(fleet_round(r.fleet, &round) == TACIT_LIMIT);
        check(strstr(err_message(), "round 1 failed 20 times") != NULL);
        check(strstr(err_message(), "Invite more (cohort.over_select") != NULL);
        err_clear();
    }
    copy_weights(&r, after);
    check(round.round == 77);
    check(memcmp(before, after, n * sizeof *before) == 0);
    finish(&r);
}

static void the_client_whose_training_diverges_is_named(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 2; threads++) {
        struct run r;
        struct fleet_round round;
        static float vast[4096];
        for (size_t k = 0; k < 4096; k++) vast[k] = k % 2 ? 3e38F : -3e38F;
        start(&r,
              "rounds: 3\n"
              "cohort: {size: 3, min_reports: 3, over_select: 1.0}\n"
              "sim: {clients: 3, rows: 30}\n",
              threads);
        r.sites.data[1].train.x = vast;
        enum tacit_err err = fleet_round(r.fleet, &round);
        check(strstr(err_message(), "round 1, client 1: ") != NULL);
        check(strstr(err_message(), "loss") != NULL);
        check_code(err, E_LOSS_NAN);
        finish(&r);
    }
}

static void a_client_without_rows_is_named(void **state)
{
    (void)state;
    struct run r = {.plan = NULL};
    read_plan(&r, lively);
    r.sites.data[2].train.n_rows = 0;
    enum tacit_err err = launch(&r, r.sites.n, 1);
    check(strstr(err_message(), "client 2 has no rows") != NULL);
    check_code(err, E_NO_EXAMPLES);
    finish(&r);
}

/* ---- stopping ----------------------------------------------------------- */

static void a_stop_ends_the_round_and_keeps_the_model(void **state)
{
    (void)state;
    struct run r;
    struct fleet_round round;
    float before[PARAMS_MOST], after[PARAMS_MOST];
    start(&r, lively, 2);
    check_ok(fleet_round(r.fleet, &round));
    size_t n = copy_weights(&r, before);
    const struct buf *file = NULL;
    check_ok(fleet_file(r.fleet, &file));
    size_t n_file = file->len;
    atomic_store(&r.stop, 1);
    check_code(fleet_round(r.fleet, &round), E_INTERRUPTED);
    check_code(fleet_round(r.fleet, &round), E_INTERRUPTED);
    copy_weights(&r, after);
    check(memcmp(before, after, n * sizeof *before) == 0);
    check_ok(fleet_file(r.fleet, &file));
    check(file->len == n_file);
    /* It was a request, not an end. */
    atomic_store(&r.stop, 0);
    check_ok(fleet_round(r.fleet, &round));
    check(round.round == 2);
    finish(&r);
}

/* ---- when it is over ---------------------------------------------------- */

/* When a round under a rule is over whose sums end at ms[]: lost where the
 * number is negative. */
static int64_t over_at(const char *rule, const int *ms, unsigned n)
{
    struct sum sums[5] = {0}, *list[5];
    struct aggregate learned = {0};
    struct fleet f = {.learned = &learned, .now_ms = 1};
    check_ok(strategy_find(rule, &learned.strategy));
    for (unsigned i = 0; i < n; i++) {
        sums[i].committed = ms[i] > 0;
        sums[i].end_ms = abs(ms[i]);
        list[i] = &sums[i];
    }
    return fleet_end_ms(&f, list, n);
}

static void a_round_is_over_with_the_loss_that_leaves_too_few_groups(
    void **state)
{
    (void)state;
    /* Two of four are enough: the third loss ends it, the second does not. */
    check(over_at("median", (int[]){90, 40, 80, 70}, 4) == 90);
    check(over_at("median", (int[]){90, -40, -80, 70}, 4) == 90);
    check(over_at("median", (int[]){-95, -40, -30, 90}, 4) == 95);
    check(over_at("median", (int[]){-95, -40, -30, 99}, 4) == 95);
    check(over_at("median", (int[]){99, -50, -30, -40}, 4) == 50);
    check(over_at("median", (int[]){-50, -50, -50, -60}, 4) == 50);
    /* Of five, three. */
    check(over_at("median", (int[]){90, -20, -70, -60, 90}, 5) == 70);
    /* The trusted group cannot be done without; another can. */
    check(over_at("fltrust", (int[]){-40, 90, 80}, 3) == 40);
    check(over_at("fltrust", (int[]){90, -40, 80}, 3) == 90);
    /* Without groups there is one. */
    check(over_at("fedavg", (int[]){-40}, 1) == 40);
    check(over_at("fedavg", (int[]){70}, 1) == 70);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_federated_model_is_the_average_of_the_local_ones),
        cmocka_unit_test(it_is_weighted_by_examples_where_the_plan_says_so),
        cmocka_unit_test(an_update_over_the_clip_counts_with_the_clip),
        cmocka_unit_test(a_ring_of_24_bits_averages_too),
        cmocka_unit_test(a_round_with_drop_outs_is_the_average_of_the_others),
        cmocka_unit_test(same_seed_same_bits_for_1_2_and_4_threads),
        cmocka_unit_test(another_seed_is_another_run),
        cmocka_unit_test(the_file_holds_the_models_weights),
        cmocka_unit_test(the_pooled_figures_are_those_of_all_held_out_rows),
        cmocka_unit_test(a_federation_learns),
        cmocka_unit_test(too_few_clients_are_refused_by_number),
        cmocka_unit_test(a_round_that_cannot_commit_is_given_up),
        cmocka_unit_test(the_client_whose_training_diverges_is_named),
        cmocka_unit_test(a_client_without_rows_is_named),
        cmocka_unit_test(a_stop_ends_the_round_and_keeps_the_model),
        cmocka_unit_test(
            a_round_is_over_with_the_loss_that_leaves_too_few_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
