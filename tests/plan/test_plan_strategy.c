/* plan_strategy, plan_sim: which numbers each strategy reads, their defaults
 * and bounds, groups against cohorts, and keys that would change nothing. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/plan/plan.h"
#include "common/strategy/strategy.h"

static const char base[] = "name: stay\n"
                           "task: regress\n"
                           "model: {kind: mlp, hidden: [4, 4]}\n"
                           "data:\n"
                           "  source: stays\n"
                           "  label: days\n"
                           "  columns: [{name: age}]\n";

/* The last line of `base` is the seventh. */
static enum tacit_err parse(const char *rest, struct plan **out)
{
    char text[2048];
    snprintf(text, sizeof text, "%s%s\n", base, rest);
    *out = NULL;
    return plan_parse("risk.yaml", text, strlen(text), out);
}

static struct plan *good(const char *rest)
{
    struct plan *p = NULL;
    enum tacit_err err = parse(rest, &p);
    if (err) print_error("%s\n", rest);
    check_ok(err);
    return p;
}

/* One fault, which says this. */
static void refused(const char *rest, const char *says)
{
    struct plan *p = NULL;
    enum tacit_err err = parse(rest, &p);
    if (!err) fail_msg("taken: %s", rest);
    if (!strstr(err_message(), says))
        fail_msg("%s: \"%s\", not \"%s\"", rest, err_message(), says);
    if (strchr(err_message(), '\n'))
        fail_msg("%s: two faults: %s", rest, err_message());
    check_code(err, E_PLAN_VALUE);
    check(p == NULL);
}

/* ---- keys ---------------------------------------------------------------- */

/* The keys that each strategy reads beside server_learning_rate. */
static const struct {
    const char *kind, *keys;
} reads[] = {
    {"fedavg", " "},
    {"fedavgm", " momentum "},
    {"fedprox", " mu "},
    {"fedadam", " beta1 beta2 tau "},
    {"fedyogi", " beta1 beta2 tau "},
    {"fedadagrad", " beta1 tau "},
    {"scaffold", " "},
    {"fednova", " "},
    {"feddyn", " alpha "},
    {"qfedavg", " q "},
    {"fedbuff", " staleness concurrent "},
    {"ditto", " lambda "},
    {"fedper", " personal "},
    {"finetune", " "},
    {"median", " groups "},
    {"trimmed", " trim groups "},
    {"krum", " byzantine groups "},
    {"multikrum", " byzantine keep groups "},
    {"bulyan", " byzantine groups "},
    {"geomedian", " iterations groups "},
    {"normbound", " bound groups "},
    {"cclip", " bound iterations groups "},
    {"fltrust", " groups trusted "},
};
enum { KINDS = sizeof reads / sizeof *reads };

/* Every key with a value that may stand there, its bounds and what is outside.
 */
static const struct {
    const char *name, *value, *least, *most, *below, *above, *reader;
} keys[] = {
    {"server_learning_rate", "0.5", "1e-6", "100", "0", "100.1", "fedavg"},
    {"momentum", "0.5", "0", "0.9999", "-0.1", "1", "fedavgm"},
    {"beta1", "0.5", "0", "0.9999", "-0.1", "1", "fedadam"},
    {"beta2", "0.5", "0", "0.99999", "-0.1", "1", "fedyogi"},
    {"tau", "0.5", "1e-12", "1", "0", "1.1", "fedadagrad"},
    {"mu", "0.5", "0", "1000", "-0.1", "1001", "fedprox"},
    {"q", "0.5", "0", "10", "-0.1", "10.1", "qfedavg"},
    {"alpha", "0.5", "1e-6", "1000", "0", "1001", "feddyn"},
    {"lambda", "0.5", "0", "1000", "-0.1", "1001", "ditto"},
    {"bound", "0.5", "1e-9", "1000000", "0", "1000001", "normbound"},
    {"trim", "0.25", "0.1", "0.49", "0", "0.5", "trimmed"},
    {"staleness", "0.25", "0", "10", "-0.1", "10.1", "fedbuff"},
    {"byzantine", "1", "0", "6", "-1", "2049", "krum"},
    {"keep", "3", "1", "15", "0", "4097", "multikrum"},
    {"iterations", "2", "1", "1000", "0", "1001", "geomedian"},
    {"personal", "1", "1", "9", "0", "10", "fedper"},
    {"groups", "8", "2", "8", "1", "257", "median"},
    {"concurrent", "2", "1", "64", "0", "65", "fedbuff"},
    {"trusted", "2", "1", "15", "0", "4097", "fltrust"},
};
enum { KEYS = sizeof keys / sizeof *keys };

/* Sixteen devices; robust rules see single updates unless there are groups. */
static void text_of(char out[512], const char *kind, const char *key,
                    const char *value)
{
    int groups = strcmp(key, "groups") == 0, compares = 0;
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(reads[i].kind, kind) == 0)
            compares = strstr(reads[i].keys, " groups ") != NULL;
    /* A whole number of groups of at least two. */
    snprintf(out, 512, "%s%s\nstrategy: {kind: %s%s%s%s%s}",
             groups ? "cohort: {size: 16, min_reports: 2}"
                    : "cohort: {size: 16, min_reports: 15}",
             compares && !groups ? "\nsecagg: {mode: off}" : "", kind,
             *key ? ", " : "", key, *key ? ": " : "", value);
}

static int does_read(size_t kind, size_t key)
{
    char word[64];
    if (key == 0) return strcmp(reads[kind].kind, "feddyn") != 0;
    snprintf(word, sizeof word, " %s ", keys[key].name);
    return strstr(reads[kind].keys, word) != NULL;
}

static void a_key_without_effect_is_a_fault(void **unused)
{
    (void)unused;
    char text[512], says[256];
    for (size_t i = 0; i < KINDS; i++) {
        for (size_t k = 0; k < KEYS; k++) {
            text_of(text, reads[i].kind, keys[k].name, keys[k].value);
            if (does_read(i, k)) {
                plan_free(good(text));
                continue;
            }
            snprintf(says, sizeof says,
                     "strategy.%s has no effect: %s does not read it",
                     keys[k].name, reads[i].kind);
            refused(text, says);
        }
    }
}

static void every_number_arrives(void **unused)
{
    (void)unused;
    struct plan *p = good("strategy: {kind: fedadam, beta1: 0.1, beta2: 0.2,\n"
                          "  tau: 0.3, server_learning_rate: 0.4}");
    struct plan_strategy *s = &p->strategy;
    check(s->beta1 == 0.1 && s->beta2 == 0.2 && s->tau == 0.3);
    check(s->server_lr == 0.4);
    plan_free(p);
    p = good("cohort: {size: 80}\nstrategy: {kind: multikrum, byzantine: 2,\n"
             "  keep: 3, groups: 8}");
    s = &p->strategy;
    check(s->byzantine == 2 && s->keep == 3 && s->groups == 8);
    plan_free(p);
    p = good("strategy: {kind: fedbuff, staleness: 0.25, concurrent: 5}");
    check(p->strategy.staleness == 0.25 && p->strategy.concurrent == 5);
    plan_free(p);
    p = good("cohort: {size: 80}\n"
             "strategy: {kind: cclip, bound: 2, iterations: 7, groups: 8}");
    check(p->strategy.bound == 2 && p->strategy.iterations == 7);
    plan_free(p);
    p = good("cohort: {size: 80}\n"
             "strategy: {kind: fltrust, trusted: 8, groups: 8}");
    check(p->strategy.trusted == 8);
    plan_free(p);
    p = good("strategy: {kind: fedper, personal: 2}");
    check(p->strategy.personal == 2);
    plan_free(p);
}

static void every_bound_of_a_strategy_holds(void **unused)
{
    (void)unused;
    char text[512], says[64];
    for (size_t k = 0; k < KEYS; k++) {
        snprintf(says, sizeof says, "strategy.%s is %s; it may be",
                 keys[k].name, keys[k].below);
        text_of(text, keys[k].reader, keys[k].name, keys[k].least);
        plan_free(good(text));
        text_of(text, keys[k].reader, keys[k].name, keys[k].most);
        plan_free(good(text));
        text_of(text, keys[k].reader, keys[k].name, keys[k].below);
        refused(text, says);
        text_of(text, keys[k].reader, keys[k].name, keys[k].above);
        snprintf(says, sizeof says, "strategy.%s is", keys[k].name);
        struct plan *p = NULL;
        enum tacit_err err = parse(text, &p);
        check(strstr(err_message(), says) != NULL);
        check_code(err, E_PLAN_VALUE);
    }
}

static struct plan_strategy defaults_of(const char *kind)
{
    char text[512];
    text_of(text, kind, "", "");
    struct plan *p = good(text);
    struct plan_strategy s = p->strategy;
    plan_free(p);
    return s;
}

static void what_is_absent_is_as_in_the_paper(void **unused)
{
    (void)unused;
    struct plan *p = good("rounds: 3"); /* no strategy at all */
    assert_string_equal(p->strategy.kind, "fedavg");
    check(p->strategy.server_lr == 1 && !p->strategy.compares);
    plan_free(p);
    check(defaults_of("fedavgm").momentum == 0.9);
    check(defaults_of("fedprox").mu == 0.01);
    struct plan_strategy s = defaults_of("fedadam");
    check(s.beta1 == 0.9 && s.beta2 == 0.99 && s.tau == 1e-3);
    check(s.server_lr == 0.01 && s.momentum == 0 && s.mu == 0);
    s = defaults_of("fedadagrad");
    check(s.beta1 == 0 && s.beta2 == 0 && s.tau == 1e-3 && s.server_lr == 0.1);
    s = defaults_of("feddyn");
    check(s.alpha == 0.1 && s.server_lr == 0);
    check(defaults_of("qfedavg").q == 1);
    s = defaults_of("fedbuff");
    check(s.staleness == 0.5 && s.concurrent == 2);
    check(defaults_of("ditto").lambda == 0.1);
    check(defaults_of("fedper").personal == 1);
    check(defaults_of("trimmed").trim == 0.2);
    s = defaults_of("multikrum");
    check(s.byzantine == 1 && s.keep == 0 && s.groups == 0);
    check(defaults_of("bulyan").byzantine == 1);
    check(defaults_of("geomedian").iterations == 8);
    s = defaults_of("cclip");
    check(s.bound == 1 && s.iterations == 3);
    check(defaults_of("fltrust").trusted == 1);
}

static void plans_and_strategies_are_of_one_list(void **unused)
{
    (void)unused;
    size_t n = 0;
    for (const struct strategy *s; (s = strategy_at(n)); n++) {
        assert_string_equal(plan_strategy_name(n), s->name);
        assert_string_equal(reads[n].kind, s->name);
        struct plan_strategy p = defaults_of(s->name);
        check(p.compares == ((s->flags & STRATEGY_SINGLES) != 0));
        check(p.personalises == ((s->flags & STRATEGY_PERSONAL) != 0));
        check((p.concurrent > 0) == ((s->flags & STRATEGY_ASYNC) != 0));
        check((p.trusted > 0) == ((s->flags & STRATEGY_ROOTED) != 0));
    }
    check(n == KINDS && plan_strategy_name(n) == NULL);
}

static void an_unknown_strategy_names_the_nearest(void **unused)
{
    (void)unused;
    refused("strategy: {kind: fedadm}", "(did you mean \"fedadam\"?)");
    refused("strategy: {kind: scafold}", "risk.yaml:8: strategy.kind is");
    struct plan *p = NULL;
    check_code(parse("strategy: {mu: 1}", &p), E_YAML_KEY);
    check_code(parse("strategy: {kind: fedprox, my: 1}", &p), E_YAML_KEY);
}

/* ---- groups and cohorts -------------------------------------------------- */

static void single_updates_need_groups_under_secure_aggregation(void **unused)
{
    (void)unused;
    refused("strategy: {kind: median}",
            "risk.yaml:8: strategy.kind median compares single updates, which "
            "secure aggregation does not show: give strategy.groups");
    refused("secagg: {mode: off}\ncohort: {size: 8, min_reports: 4}\n"
            "strategy: {kind: median, groups: 4}",
            "strategy.groups has no effect without secure aggregation");
}

static void a_group_is_at_least_the_minimum_cohort(void **unused)
{
    (void)unused;
    refused("cohort: {size: 11, min_reports: 3}\n"
            "strategy: {kind: median, groups: 4}",
            "strategy.groups 4 leaves 2 devices of cohort.size 11 for each; "
            "every group wants cohort.min_reports 3");
    plan_free(good("cohort: {size: 12, min_reports: 3}\n"
                   "strategy: {kind: median, groups: 4}"));
    refused("cohort: {size: 3}\nstrategy: {kind: median, groups: 2}",
            "strategy.groups 2 leaves 1 devices");
    /* Unless given, the minimum is three quarters of a group. */
    struct plan *p = good("cohort: {size: 40}\n"
                          "strategy: {kind: median, groups: 5}");
    check(p->min_reports == 6);
    plan_free(p);
    p = good("cohort: {size: 40}");
    check(p->min_reports == 30);
    plan_free(p);
}

static void a_rule_gets_as_many_updates_as_it_wants(void **unused)
{
    (void)unused;
    refused("cohort: {size: 40}\nstrategy: {kind: krum, groups: 4}",
            "strategy.byzantine 1 wants at least 5 groups; there may be only "
            "4");
    plan_free(good("cohort: {size: 40}\nstrategy: {kind: krum, groups: 5}"));
    refused("cohort: {size: 40}\nstrategy: {kind: bulyan, groups: 6}",
            "at least 7 groups");
    refused("cohort: {size: 40}\nstrategy: {kind: krum, groups: 2,\n"
            "  byzantine: 0}",
            "strategy.byzantine 0 wants at least 3 groups");
    refused("secagg: {mode: off}\ncohort: {size: 9, min_reports: 4}\n"
            "strategy: {kind: multikrum}",
            "at least 5 updates; there may be only 4");
    refused("cohort: {size: 40}\n"
            "strategy: {kind: multikrum, groups: 5, keep: 6}",
            "strategy.keep is 6; there may be only 5 groups");
    refused(
        "cohort: {size: 40}\nstrategy: {kind: fltrust, groups: 4, trusted: 1}",
        "strategy.trusted is 1; the trusted group is a secure sum too, of "
        "at least cohort.min_reports 7");
    refused("cohort: {size: 40}\nstrategy: {kind: trimmed, groups: 4}",
            "strategy.trim 0.2 of 4 groups cuts none; it wants at least 1/4, "
            "or more groups");
    plan_free(good("cohort: {size: 40}\n"
                   "strategy: {kind: trimmed, groups: 4, trim: 0.25}"));
    refused("secagg: {mode: off}\ncohort: {size: 4}\n"
            "strategy: {kind: fltrust, trusted: 4}",
            "strategy.trusted 4 leaves no other device of cohort.size 4");
    refused("secagg: {mode: off}\ncohort: {size: 513}\n"
            "strategy: {kind: bulyan}",
            "strategy.kind bulyan compares every pair of up to 512 updates; "
            "cohort.size is 513: lower it, or take trimmed, median or "
            "geomedian");
    plan_free(good("secagg: {mode: off}\ncohort: {size: 512}\n"
                   "strategy: {kind: bulyan}"));
    plan_free(good("secagg: {mode: off}\ncohort: {size: 513}\n"
                   "strategy: {kind: median}"));
}

static void one_sum_has_room_for_128_devices(void **unused)
{
    (void)unused;
    refused("cohort: {size: 129}",
            "risk.yaml:8: cohort.size 129 makes 129 devices in one secure "
            "sum; there may be 128 (in a simulation, sim.protocol: sum has no "
            "such bound)");
    plan_free(good("cohort: {size: 128}"));
    plan_free(good("cohort: {size: 4096}\nsim: {protocol: sum}"));
    /* Three groups of 386 are not 128 each. */
    refused("cohort: {size: 386}\nstrategy: {kind: median, groups: 3}",
            "cohort.size 386 makes 129 devices");
    plan_free(good("cohort: {size: 384}\n"
                   "strategy: {kind: median, groups: 3}"));
    refused("cohort: {size: 129}\nsim: {protocol: sum}\n"
            "secagg: {ring_bits: 24}",
            "secagg.ring_bits 24 has room for 128 devices in one sum, not 129; "
            "32 has");
}

/* ---- the sim block ------------------------------------------------------- */

static void without_masks_there_is_only_the_sum(void **unused)
{
    (void)unused;
    refused("secagg: {mode: off}\nsim: {protocol: full}",
            "sim.protocol: full is secure aggregation itself");
    struct plan *p = good("secagg: {mode: off}");
    check(p->secagg_off && p->sim.sum_only);
    plan_free(p);
    p = good("rounds: 1");
    check(!p->secagg_off && !p->sim.sum_only);
    plan_free(p);
}

static void a_sim_key_without_effect_is_a_fault(void **unused)
{
    (void)unused;
    static const struct {
        const char *rest, *says;
    } bad[] = {
        {"sim: {partition: iid, alpha: 0.5}",
         "sim.alpha is for partition: dirichlet"},
        {"sim: {partition: iid, labels: 2}",
         "sim.labels is for partition: labels"},
        {"sim: {partition: iid, column: x}",
         "sim.column is for partition: column"},
        {"sim: {partition: iid, shift: 1}",
         "sim.shift is for partition: shift"},
        {"sim: {partition: column}", "sim.column is missing"},
        {"sim: {a: 1}", "sim.a and sim.b are for format: vectors"},
        {"sim: {b: 1}", "sim.a and sim.b are for format: vectors"},
        {"sim: {attack: {kind: nan, factor: 2}}",
         "sim.attack.factor has no effect on nan"},
        {"sim: {attack: {kind: free_rider, from: 2}}",
         "sim.attack.from and to are for label_flip and backdoor"},
        {"sim: {attack: {kind: scale, to: 2}}",
         "sim.attack.from and to are for label_flip and backdoor"},
        {"sim: {attack: {kind: signflip}}", "\"sign_flip\"?"},
        {"sim: {selection: oart}", "\"oort\"?"},
        {"sim: {held_out: onw}", "\"own\"?"},
        {"sim: {held_out: own}", "of a table plan holds out rows of its own"},
        {"sim: {partition: dirichlet, alpha: 0}", "sim.alpha is 0"},
        {"sim: {devices: {available: 0}}", "sim.devices.available is 0"},
        {"sim: {devices: {crash: 0.95}}", "sim.devices.crash is 0.95"},
        {"sim: {stragglers: 1.1}", "sim.stragglers is 1.1"},
        {"sim: {protocol: some}", "sim.protocol is \"some\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(bad[i].rest, bad[i].says);
}

static void a_simulation_has_its_defaults(void **unused)
{
    (void)unused;
    struct plan *p = good("sim: {attack: {kind: sign_flip}, partition: "
                          "dirichlet, sizes: power, selection: oort,\n"
                          "  devices: {skew_s: 3}}");
    check(p->sim.attack == PLAN_ATTACK_SIGN_FLIP && p->sim.attack_factor == 1);
    check(p->sim.attack_share == 0.2 && p->sim.attack_from == 1);
    check(p->sim.partition == PLAN_PART_DIRICHLET && p->sim.alpha == 0.5);
    check(p->sim.power_sizes && p->sim.selection == PLAN_SELECT_OORT);
    check(p->sim.skew_s == 3 && p->sim.available == 1 && p->sim.crash == 0);
    check(p->sim.evaluate_every == 1 && p->sim.checkpoint_every == 10);
    plan_free(p);
    p = good("cohort: {size: 1}\nsecagg: {mode: off}\n"
             "sim: {clients: 1, selection: cyclic}");
    check(p->cohort_size == 1 && p->min_reports == 1 && p->sim.clients == 1);
    check(p->sim.selection == PLAN_SELECT_CYCLIC);
    plan_free(p);
    p = good("sim: {attack: {kind: scale}}");
    check(p->sim.attack_factor == 10);
    plan_free(p);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_without_effect_is_a_fault),
        cmocka_unit_test(every_number_arrives),
        cmocka_unit_test(every_bound_of_a_strategy_holds),
        cmocka_unit_test(what_is_absent_is_as_in_the_paper),
        cmocka_unit_test(plans_and_strategies_are_of_one_list),
        cmocka_unit_test(an_unknown_strategy_names_the_nearest),
        cmocka_unit_test(single_updates_need_groups_under_secure_aggregation),
        cmocka_unit_test(a_group_is_at_least_the_minimum_cohort),
        cmocka_unit_test(a_rule_gets_as_many_updates_as_it_wants),
        cmocka_unit_test(one_sum_has_room_for_128_devices),
        cmocka_unit_test(without_masks_there_is_only_the_sum),
        cmocka_unit_test(a_sim_key_without_effect_is_a_fault),
        cmocka_unit_test(a_simulation_has_its_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
