/* task: a plan in the terms of model, strategy and ring. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/task/task.h"

static struct plan plan;

static int setup(void **unused)
{
    (void)unused;
    plan = (struct plan){.name = "risk",
                         .task = PLAN_CLASSIFY,
                         .model = "mlp",
                         .n_hidden = 2,
                         .hidden = {16, 8},
                         .classes = 1,
                         .n_features = 13,
                         .cohort_size = 4,
                         .min_reports = 3,
                         .over_select = 1.3,
                         .local_steps = 20,
                         .batch = 10,
                         .learning_rate = 0.05,
                         .optimizer = "sgd",
                         .weight_cap = 1000,
                         .ring_bits = 24,
                         .clip = 4};
    snprintf(plan.strategy.kind, sizeof plan.strategy.kind, "fedavg");
    return 0;
}

static struct model *model_of(void)
{
    struct model_spec spec;
    struct model *m = NULL;
    task_spec(&plan, &spec);
    check_ok(model_new(&spec, &m));
    return m;
}

/* ---- the model ----------------------------------------------------------- */

static void the_spec_is_the_plans(void **unused)
{
    (void)unused;
    struct model_spec s;
    task_spec(&plan, &s);
    assert_string_equal(s.kind, "mlp");
    check(s.task == MODEL_CLASSIFY && s.n_inputs == 13);
    check(s.n_hidden == 2 && s.hidden[0] == 16 && s.hidden[1] == 8);
    plan = (struct plan){.task = PLAN_LM,
                         .model = "transformer",
                         .format = PLAN_TEXT,
                         .classes = 96,
                         .channels = 3,
                         .height = 5,
                         .width = 7,
                         .length = 64,
                         .layers = 2,
                         .heads = 4,
                         .norm = "group",
                         .temperature = 0.1};
    task_spec(&plan, &s);
    check(s.task == MODEL_LM && s.classes == 96 && s.seq == 64);
    check(s.channels == 0 && s.height == 0 && s.width == 0);
    check(s.layers == 2 && s.heads == 4 && s.temperature == 0.1);
    assert_string_equal(s.norm, "group");
    plan.format = PLAN_IMAGES;
    task_spec(&plan, &s);
    check(s.channels == 3 && s.height == 5 && s.width == 7 && s.seq == 0);
    static const struct {
        enum plan_task plan;
        enum model_task model;
    } tasks[] = {{PLAN_REGRESS, MODEL_REGRESS},
                 {PLAN_RETRIEVER, MODEL_RETRIEVER},
                 {PLAN_COX, MODEL_COX},
                 {PLAN_CLASSIFY, MODEL_CLASSIFY}};
    for (size_t i = 0; i < 4; i++) {
        plan.task = tasks[i].plan;
        task_spec(&plan, &s);
        check(s.task == tasks[i].model);
    }
}

static void a_plan_says_how_each_step_is_made(void **unused)
{
    (void)unused;
    struct model_training how = {.round = 7, .steps = 9, .ctx = &how};
    const struct plan said = {.optimizer = "sgd",
                              .batch = 12,
                              .learning_rate = 0.1,
                              .momentum = 0.2,
                              .weight_decay = 0.3,
                              .epsilon = 0.4,
                              .seed = 5};
    task_training(&said, &how);
    assert_string_equal(how.optimizer, "sgd");
    check(how.batch == 12 && how.seed == 5);
    check(how.learning_rate == 0.1 && how.momentum == 0.2);
    check(how.weight_decay == 0.3 && how.epsilon == 0.4);
    check(how.steps == 0 && how.round == 0 && !how.ctx && !how.gradient);
}

static void a_model_file_is_the_model_with_what_goes_down_beside_it(
    void **unused)
{
    (void)unused;
    struct model *m = model_of();
    const struct params *p = model_params(m);
    struct params file;
    check_ok(task_file(p, 0, &file));
    check(file.n_params == p->n_params && file.n_flat == p->n_flat);
    for (size_t i = 0; i < p->n_params; i++)
        assert_string_equal(file.list[i].name, p->list[i].name);
    params_release(&file);
    check_ok(task_file(p, 1, &file));
    check(file.n_params == p->n_params + 1 && file.n_flat == 2 * p->n_flat);
    const struct param *down = params_find(&file, TASK_DOWN);
    check(down && down->offset == p->n_flat && down->len == p->n_flat);
    for (size_t i = 0; i < file.n_flat; i++) check(file.flat[i] == 0);
    params_release(&file);
    model_free(m);
}

/* ---- the ring ------------------------------------------------------------ */

static void the_ring_holds_what_the_strategy_sends(void **unused)
{
    (void)unused;
    struct ring_layout l;
    const struct strategy *avg = NULL, *scaffold = NULL;
    check_ok(strategy_find("fedavg", &avg));
    check_ok(strategy_find("scaffold", &scaffold));
    task_layout(&plan, avg, 50, &l);
    check(l.n_params == 50 && l.n_metrics == TASK_METRICS);
    check(l.clients_max == 128 && l.ring_bits == 24);
    check(l.clip == 4 && l.metric_max == STRATEGY_SCALAR_LIMIT);
    check(ring_coords(&l) == 50 + 2 + TASK_METRICS + RING_CHECKS);
    task_layout(&plan, scaffold, 50, &l);
    check(l.n_params == 100);
}

static void a_sum_without_masks_has_room_for_all(void **unused)
{
    (void)unused;
    struct ring_layout l;
    const struct strategy *avg = NULL;
    check_ok(strategy_find("fedavg", &avg));
    plan.cohort_size = 1000;
    plan.ring_bits = 32;
    task_layout(&plan, avg, 50, &l);
    check(l.clients_max == 1300);
    plan.strategy.groups = 8;
    task_layout(&plan, avg, 50, &l);
    check(l.clients_max == 128); /* 125 and their spares: no more seats */
    plan.strategy.groups = 4;
    task_layout(&plan, avg, 50, &l);
    check(l.clients_max == 325);
}

static void over_selection_rounds_up_and_stays_in_bounds(void **unused)
{
    (void)unused;
    check(task_invite_max(&plan) == 6);
    plan.over_select = 1.0;
    check(task_invite_max(&plan) == 4);
    plan.over_select = 1.25;
    check(task_invite_max(&plan) == 5);
    plan.cohort_size = 10;
    plan.over_select = 1.1; /* 11.000000000000002 in binary */
    check(task_invite_max(&plan) == 11);
    plan.cohort_size = 128; /* a secure sum has no more seats */
    plan.over_select = 2;
    check(task_invite_max(&plan) == 128);
    plan.cohort_size = 100;
    check(task_invite_max(&plan) == 128);
    plan.strategy.groups = 4;
    check(task_invite_max(&plan) == 200);
    plan.over_select = 4;
    check(task_invite_max(&plan) == 400);
    plan.cohort_size = 500;
    check(task_invite_max(&plan) == 512);
    plan.strategy.groups = 0; /* without masks: no seats, no bound */
    check(task_invite_max(&plan) == 2000);
}

static void rows_count_up_to_the_cap(void **unused)
{
    (void)unused;
    check(task_weight(&plan, 1000) == RING_WEIGHT_MAX);
    check(task_weight(&plan, 1000000) == RING_WEIGHT_MAX);
    check(task_weight(&plan, 500) == 32768);
    check(task_weight(&plan, 1) == 66);
    plan.weight_cap = 1000000000;
    check(task_weight(&plan, 1) == 1);
    plan.weighting = PLAN_UNIFORM;
    check(task_weight(&plan, 1) == RING_WEIGHT_MAX);
}

/* ---- the strategy -------------------------------------------------------- */

static struct strategy_config numbers_of(const struct strategy **out)
{
    struct model *m = model_of();
    struct strategy_config c;
    const struct strategy *s = NULL;
    check_ok(task_strategy(&plan, model_params(m), &s, &c));
    model_free(m);
    if (out) *out = s;
    return c;
}

static void the_strategys_numbers_are_the_plans(void **unused)
{
    (void)unused;
    const struct strategy *s = NULL;
    plan.strategy = (struct plan_strategy){.kind = "fedadam",
                                           .server_lr = 1,
                                           .momentum = 2,
                                           .beta1 = 3,
                                           .beta2 = 4,
                                           .tau = 5,
                                           .mu = 6,
                                           .q = 7,
                                           .alpha = 8,
                                           .lambda = 9,
                                           .bound = 10,
                                           .trim = 11,
                                           .staleness = 12,
                                           .byzantine = 13,
                                           .keep = 14,
                                           .iterations = 15};
    struct strategy_config c = numbers_of(&s);
    assert_string_equal(s->name, "fedadam");
    check(c.server_lr == 1 && c.momentum == 2 && c.beta1 == 3 && c.beta2 == 4);
    check(c.tau == 5 && c.mu == 6 && c.q == 7 && c.alpha == 8);
    check(c.lambda == 9 && c.bound == 10 && c.trim == 11 && c.staleness == 12);
    check(c.byzantine == 13 && c.keep == 14 && c.iterations == 15);
    check(c.learning_rate == 0.05 && c.steps == 20 && c.personal == 0);
}

static void under_epochs_a_common_device_has_as_many_rows_as_the_cap(
    void **unused)
{
    (void)unused;
    plan.local_epochs = 3;
    plan.local_steps = 0;
    check(numbers_of(NULL).steps == 300);
    plan.weight_cap = 1001; /* the last batch is short */
    check(numbers_of(NULL).steps == 303);
    plan.weight_cap = 1000000000;
    plan.local_epochs = 10000;
    plan.batch = 1;
    check(numbers_of(NULL).steps == UINT32_MAX);
}

static void a_loss_is_measured_by_the_number_of_classes(void **unused)
{
    (void)unused;
    check_near(numbers_of(NULL).loss_scale, log(2), 1e-12);
    plan.classes = 10;
    check_near(numbers_of(NULL).loss_scale, log(10), 1e-12);
    plan.task = PLAN_REGRESS;
    plan.classes = 1;
    check_near(numbers_of(NULL).loss_scale, 1, 0);
}

static void the_personal_end_begins_with_a_layers_matrix(void **unused)
{
    (void)unused;
    /* 13 -> 16 -> 8 -> 1: matrices of 208, 128, 8, biases of 16, 8, 1. */
    snprintf(plan.strategy.kind, sizeof plan.strategy.kind, "fedper");
    plan.strategy.personal = 1;
    check(numbers_of(NULL).personal == 208 + 16 + 128 + 8);
    plan.strategy.personal = 2;
    check(numbers_of(NULL).personal == 208 + 16);
}

static void check_refused(const char *says)
{
    struct model *m = model_of();
    struct strategy_config c;
    const struct strategy *s = NULL;
    enum tacit_err err = task_strategy(&plan, model_params(m), &s, &c);
    if (!err || !strstr(err_message(), says))
        fail_msg("\"%s\", not \"%s\"", err_message(), says);
    check_code(err, E_PLAN_VALUE);
    model_free(m);
}

static void what_would_share_nothing_is_refused(void **unused)
{
    (void)unused;
    snprintf(plan.strategy.kind, sizeof plan.strategy.kind, "fedper");
    plan.strategy.personal = 3;
    check_refused("strategy.personal 3: the model has no more than so many "
                  "layers; nothing would be shared");
    plan.strategy.personal = 9;
    check_refused("strategy.personal 9");
    plan.strategy.personal = 1;
    plan.n_hidden = 0;
    snprintf(plan.model, sizeof plan.model, "logistic");
    check_refused("strategy.personal 1");
}

static void equations_of_plain_sgd_refuse_another_optimiser(void **unused)
{
    (void)unused;
    static const char *const plain[] = {"scaffold", "fednova", "qfedavg"};
    snprintf(plan.optimizer, sizeof plan.optimizer, "adamw");
    numbers_of(NULL); /* FedAvg does not mind */
    for (size_t i = 0; i < 3; i++) {
        snprintf(plan.strategy.kind, sizeof plan.strategy.kind, "%s", plain[i]);
        check_refused("is defined for local.optimizer: sgd, not adamw");
    }
}

static void pairs_of_different_ranks_are_added_up_as_products(void **unused)
{
    (void)unused;
    struct model *m = model_of();
    struct strategy_config c;
    const struct strategy *s = NULL;
    struct ring_layout l;
    struct model_spec spec;
    plan.seed = 9;
    plan.base.adapter = PLAN_FLORA;
    check_ok(task_strategy(&plan, model_params(m), &s, &c));
    check(s != &strategy_flora); /* without a base there are no pairs */
    snprintf(plan.base.name, sizeof plan.base.name, "minilm");
    check_ok(task_strategy(&plan, model_params(m), &s, &c));
    check(s == &strategy_flora && c.layout == model_params(m) && c.seed == 9);
    task_layout(&plan, s, 100, &l);
    check(l.n_params == 400);
    task_spec(&plan, &spec);
    check(spec.base.adapter == MODEL_LORA);
    model_free(m);
}

static void a_strategy_that_is_none_names_the_nearest(void **unused)
{
    (void)unused;
    struct model *m = model_of();
    struct strategy_config c;
    const struct strategy *s = NULL;
    snprintf(plan.strategy.kind, sizeof plan.strategy.kind, "krumm");
    enum tacit_err err = task_strategy(&plan, model_params(m), &s, &c);
    check(strstr(err_message(), "`krum`") != NULL);
    check_err(err, TACIT_NOTFOUND);
    model_free(m);
}

/* ---- production ---------------------------------------------------------- */

static void production_has_masks_and_seats(void **unused)
{
    (void)unused;
    check_ok(task_production(&plan));
    plan.secagg_off = 1;
    enum tacit_err err = task_production(&plan);
    check(strstr(err_message(), "secagg.mode: off is for simulations") != NULL);
    check_code(err, E_PLAN_VALUE);
    plan.secagg_off = 0;
    plan.cohort_size = 129;
    err = task_production(&plan);
    check(strstr(err_message(), "cohort.size 129 makes 129 devices in one "
                                "secure sum; there may be 128") != NULL);
    check_code(err, E_PLAN_VALUE);
    plan.cohort_size = 128;
    check_ok(task_production(&plan));
    plan.cohort_size = 386;
    plan.strategy.groups = 3; /* 128, 129, 129 */
    check_code(task_production(&plan), E_PLAN_VALUE);
    plan.cohort_size = 384;
    check_ok(task_production(&plan));
}

/* Devices of another version would add up what does not go together. */
static void a_retriever_of_the_built_in_encoder_says_which(void **state)
{
    struct plan own = {.cohort_size = 3};
    (void)state;
    snprintf(own.model, sizeof own.model, "static");
    enum tacit_err err = task_production(&own);
    check(strstr(err_message(), "this program's is static-") != NULL);
    check_code(err, E_PLAN_ENCODER);
    snprintf(own.encoder, sizeof own.encoder, "static-1-0123456789");
    check_ok(task_production(&own));
    snprintf(own.model, sizeof own.model, "net");
    own.encoder[0] = '\0';
    check_ok(task_production(&own));
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, setup)
        T(the_spec_is_the_plans),
        T(a_plan_says_how_each_step_is_made),
        T(a_model_file_is_the_model_with_what_goes_down_beside_it),
        T(the_ring_holds_what_the_strategy_sends),
        T(a_sum_without_masks_has_room_for_all),
        T(over_selection_rounds_up_and_stays_in_bounds),
        T(rows_count_up_to_the_cap),
        T(the_strategys_numbers_are_the_plans),
        T(under_epochs_a_common_device_has_as_many_rows_as_the_cap),
        T(a_loss_is_measured_by_the_number_of_classes),
        T(the_personal_end_begins_with_a_layers_matrix),
        T(what_would_share_nothing_is_refused),
        T(equations_of_plain_sgd_refuse_another_optimiser),
        T(pairs_of_different_ranks_are_added_up_as_products),
        T(a_strategy_that_is_none_names_the_nearest),
        T(production_has_masks_and_seats),
        T(a_retriever_of_the_built_in_encoder_says_which),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
