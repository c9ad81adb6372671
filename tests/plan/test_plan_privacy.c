/* plan_privacy: the block's defaults and bounds, and each thing that cannot
 * stand beside it, with its line. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/plan/plan.h"

static const char table[] = "name: stay\n"
                            "task: classify\n"
                            "model: {kind: logistic}\n"
                            "data:\n"
                            "  source: stays\n"
                            "  label: days\n"
                            "  standardise: plan\n"
                            "  columns: [{name: age}]\n"
                            "rounds: 30\n"
                            "cohort: {size: 4, min_reports: 3}\n";

static enum tacit_err parse(const char *head, const char *rest,
                            struct plan **out)
{
    char text[2048];
    snprintf(text, sizeof text, "%s%s\n", head, rest);
    *out = NULL;
    return plan_parse("stay.yaml", text, strlen(text), out);
}

/* One fault, at this line, which says this. */
static void refused_in(const char *head, const char *rest, const char *line,
                       const char *says)
{
    struct plan *p = NULL;
    char want[64];
    enum tacit_err err = parse(head, rest, &p);
    snprintf(want, sizeof want, "stay.yaml:%s: ", line);
    if (!err) fail_msg("taken: %s", rest);
    if (!strstr(err_message(), says) ||
        strncmp(err_message(), want, strlen(want)) != 0 ||
        strchr(err_message(), '\n'))
        fail_msg("%s: \"%s\", not \"%s%s\"", rest, err_message(), want, says);
    check_code(err, E_PLAN_VALUE);
}

static void refused(const char *rest, const char *line, const char *says)
{
    refused_in(table, rest, line, says);
}

static void a_plan_without_the_block_has_no_privacy(void **state)
{
    (void)state;
    struct plan *p = NULL;
    check_ok(parse(table, "", &p));
    check(!p->privacy.record);
    plan_free(p);
}

static void what_is_left_out_has_the_default(void **state)
{
    (void)state;
    struct plan *p = NULL;
    check_ok(parse(table, "privacy: {epsilon: 4}", &p));
    check(p->privacy.record && p->weighting == PLAN_UNIFORM);
    check_near(p->privacy.epsilon, 4, 0);
    check_near(p->privacy.delta, 1e-5, 0);
    check_near(p->privacy.clip, 1, 0);
    check_near(p->clip, 1, 0);
    check_near(p->privacy.sample, 1, 0);
    check_near(p->privacy.noise, 0, 0);
    assert_int_equal(p->privacy.colluders, 1);
    assert_int_equal(p->privacy.retries, 3);
    plan_free(p);
}

static void every_key_arrives(void **state)
{
    (void)state;
    struct plan *p = NULL;
    check_ok(parse(table,
                   "privacy: {unit: record, epsilon: 2, delta: 1e-7, clip: 3,\n"
                   "  noise: 1.5, sample: 0.2, colluders: 2, retries: 9}",
                   &p));
    check_near(p->privacy.epsilon, 2, 0);
    check_near(p->privacy.delta, 1e-7, 0);
    check_near(p->privacy.clip, 3, 0);
    check_near(p->privacy.noise, 1.5, 0);
    check_near(p->privacy.sample, 0.2, 0);
    assert_int_equal(p->privacy.colluders, 2);
    assert_int_equal(p->privacy.retries, 9);
    plan_free(p);
}

static void values_out_of_their_bounds_are_refused(void **state)
{
    (void)state;
    refused("privacy: {epsilon: 0}", "11", "0.01 to 100");
    refused("privacy: {delta: 0.5}", "11", "1e-12 to 0.01");
    refused("privacy: {clip: 0}", "11", "privacy.clip");
    refused("privacy: {sample: 1.5}", "11", "1e-06 to 1");
    refused("privacy: {unit: user}", "11", "record");
    refused("privacy: {noise: some}", "11", "auto");
    refused("privacy: {noise: 0.1}", "11", "0.2 to 4096");
    refused("privacy: {colluders: 3}", "11", "somebody must be left");
}

static void a_key_that_is_not_read_is_refused(void **state)
{
    (void)state;
    refused("privacy: {}\nclip: 2", "12", "privacy.clip bounds each row");
    refused("privacy: {}\nlocal: {steps: 4}", "12", "rounds are the steps");
    refused("privacy: {}\nlocal: {epochs: 1}", "12", "rounds are the steps");
    refused("privacy: {}\nlocal: {optimizer: adam}", "12", "the coordinator");
    refused("privacy: {}\nlocal: {learning_rate: 1}", "12",
            "strategy.server_learning_rate");
    refused("privacy: {}\nlocal: {momentum: 0.5}", "12", "fedavgm");
    refused("privacy: {}\nlocal: {weight_decay: 0.5}", "12", "weight_decay");
    refused("privacy: {}\nsim: {stragglers: 0.5}", "12", "one step");
}

static void what_reads_more_than_the_noisy_sum_is_refused(void **state)
{
    (void)state;
    refused("privacy: {}\nstrategy: {kind: scaffold}", "12", "noisy sum");
    refused("privacy: {}\nstrategy: {kind: ditto}", "12", "noisy sum");
    refused("privacy: {}\nstrategy: {kind: fedbuff}", "12", "noisy sum");
    refused("privacy: {}\nstrategy: {kind: qfedavg}", "12", "noisy sum");
    refused("privacy: {}\nweighting: {by: examples}", "12", "number of rows");
    refused("privacy: {}\nsecagg: {ring_bits: 24}", "12", "wants 32");
    refused("privacy: {}\nsecagg: {mode: off}", "12", "its share of the noise");
    refused("privacy: {}\nsim: {selection: oort}", "12", "do not leave");
    refused("privacy: {}\nsim: {attack: {kind: scale}}", "12", "label_flip");
}

static void what_reads_the_noisy_sum_alone_is_taken(void **state)
{
    (void)state;
    static const char *const kinds[] = {"fedavg",  "fedavgm",    "fedadam",
                                        "fedyogi", "fedadagrad", "finetune"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct plan *p = NULL;
        char rest[96];
        snprintf(rest, sizeof rest, "privacy: {}\nstrategy: {kind: %s}",
                 kinds[i]);
        check_ok(parse(table, rest, &p));
        plan_free(p);
    }
}

/* They are of the model that the device keeps, not of the sum. */
static void an_own_model_is_trained_as_the_plan_says(void **state)
{
    (void)state;
    struct plan *p = NULL;
    check_ok(parse(table,
                   "privacy: {}\nstrategy: {kind: finetune}\n"
                   "local: {steps: 4, optimizer: adamw, learning_rate: 0.5}",
                   &p));
    check(p->local_steps == 4 && p->learning_rate > 0.4);
    check(strcmp(p->optimizer, "adamw") == 0);
    plan_free(p);
    refused("privacy: {}\nstrategy: {kind: finetune}\nclip: 2", "13",
            "privacy.clip bounds each row");
}

/* Each would let one row into another's gradient. */
static void rows_that_reach_into_each_other_are_refused(void **state)
{
    (void)state;
    static const char site[] = "name: stay\n"
                               "task: classify\n"
                               "model: {kind: logistic}\n"
                               "data: {source: s, label: y,\n"
                               "  columns: [{name: age}]}\n";
    static const char cox[] = "name: stay\n"
                              "task: cox\n"
                              "model: {kind: cox}\n"
                              "data: {source: s, label: y, event: e,\n"
                              "  standardise: none,\n"
                              "  columns: [{name: age}]}\n";
    static const char batch[] = "name: stay\n"
                                "task: classify\n"
                                "model: {kind: cnn, hidden: [6, 16, 84],\n"
                                "  norm: batch}\n"
                                "data: {source: s}\n";
    static const char text[] = "name: stay\n"
                               "task: lm\n"
                               "model: {kind: gru, hidden: [8, 8]}\n"
                               "data: {source: s}\n";
    static const char pairs[] = "name: stay\n"
                                "task: retriever\n"
                                "model: {kind: static}\n"
                                "data: {source: s}\n"
                                "local: {hard_negatives: 0}\n";
    refused_in(site, "privacy: {}", "4", "standardise");
    refused_in(cox, "privacy: {}", "2", "compares rows");
    refused_in(batch, "privacy: {}", "4", "mixes the rows");
    refused_in(text, "privacy: {}", "4", "many rows");
    refused_in(pairs, "privacy: {}", "2", "negatives");
}

static void a_retriever_under_privacy_has_hard_negatives(void **state)
{
    static const char head[] = "name: guide\n"
                               "task: retriever\n"
                               "model: {kind: static}\n"
                               "data: {source: s}\n";
    struct plan *p = NULL;
    (void)state;
    check_ok(parse(head, "privacy: {}", &p));
    assert_int_equal(p->hard_negatives, 4);
    plan_free(p);
    check_ok(parse(head, "local: {hard_negatives: 9}\nprivacy: {}", &p));
    assert_int_equal(p->hard_negatives, 9);
    plan_free(p);
    check_ok(parse(head, "", &p));
    assert_int_equal(p->hard_negatives, 0);
    plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_without_the_block_has_no_privacy),
        cmocka_unit_test(what_is_left_out_has_the_default),
        cmocka_unit_test(every_key_arrives),
        cmocka_unit_test(values_out_of_their_bounds_are_refused),
        cmocka_unit_test(a_key_that_is_not_read_is_refused),
        cmocka_unit_test(what_reads_more_than_the_noisy_sum_is_refused),
        cmocka_unit_test(what_reads_the_noisy_sum_alone_is_taken),
        cmocka_unit_test(an_own_model_is_trained_as_the_plan_says),
        cmocka_unit_test(rows_that_reach_into_each_other_are_refused),
        cmocka_unit_test(a_retriever_under_privacy_has_hard_negatives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
