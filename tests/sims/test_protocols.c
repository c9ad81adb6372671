/* One plan, two fidelities: `protocol: full` (participate and runner, masks,
 * messages) and `protocol: sum` (the ring's arithmetic) give the same model to
 * the bit after every round, and the same account of the round. The full run
 * also checks itself against the timetable: who is in a sum, and when it ends.
 */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "sims/attacks.h"
#include "sims/fleet.h"
#include "sims/sites.h"

enum { TEXT_MAX = 4096, ROUNDS_MOST = 8, FLAT_MOST = 128, SPARE = 512 };

/* %s: strategy, cohort, local training, more; %s: of sim. */
static const char plan_format[] =
    "name: two-ways\n"
    "task: classify\n"
    "model: {%s}\n"
    "data:\n"
    "  source: patients\n"
    "  label: disease\n"
    "  columns: [{name: age}, {name: sex}, {name: thalach}, {name: oldpeak}]\n"
    "  standardise: site\n"
    "  holdout: 0.25\n"
    "clip: 2\n"
    "rounds: 8\n"
    "%s\n"
    "sim: {clients: 36, rows: 16, protocol: %s%s}\n";

#define LOGISTIC "kind: logistic"
#define COHORT   "cohort: {size: 7, min_reports: 4, over_select: 1.4}\n"
#define TRAINED  "local: {steps: 3, batch: 8, learning_rate: 0.1}\n"
#define LOCAL    TRAINED "deadline: {stage: 30s, train: 2m}\n"
#define HARD                                                                   \
 ", dropout: 0.15, stragglers: 0.3, devices: {speed_sd: 1, link_sd: 1, "       \
 "delay: 0.3, duplicate: 0.3, crash: 0.1, skew_s: 1000}"

/* What a run left, round by round. */
struct course {
    unsigned n_rounds;
    size_t n_flat;
    float weights[ROUNDS_MOST][FLAT_MOST];
    struct fleet_round rounds[ROUNDS_MOST];
    unsigned id; /* of the error that ended it, with its message */
    enum tacit_err err;
    char why[SPARE];
};

static void follow(struct course *c, const char *model, const char *body,
                   const char *protocol, const char *sim, unsigned n_rounds,
                   unsigned n_threads)
{
    static char text[TEXT_MAX];
    struct plan *plan = NULL;
    struct sites sites = {0};
    struct fleet *f = NULL;
    int n =
        snprintf(text, sizeof text, plan_format, model, body, protocol, sim);
    check(n > 0 && (size_t)n < sizeof text && n_rounds <= ROUNDS_MOST);
    check_ok(plan_parse("two-ways.yaml", text, (size_t)n, &plan));
    check_ok(sites_invent(plan, &sites));
    check_ok(attacks_rows(plan, sites.data, sites.n));
    const struct fleet_config config = {.plan = plan,
                                        .plan_text = text,
                                        .plan_bytes = (size_t)n,
                                        .data = sites.data,
                                        .n_clients = sites.n,
                                        .n_threads = n_threads};
    memset(c, 0, sizeof *c);
    check_ok(fleet_new(&config, &f));
    while (!c->err && c->n_rounds < n_rounds) {
        struct fleet_round *r = &c->rounds[c->n_rounds];
        c->err = fleet_round(f, r);
        if (c->err) break;
        const struct params *p = model_params(fleet_model(f));
        check(p->n_flat <= FLAT_MOST);
        c->n_flat = p->n_flat;
        memcpy(c->weights[c->n_rounds++], p->flat, p->n_flat * sizeof(float));
        r->wall_ms = 0;
    }
    if (c->err) {
        const struct params *p = model_params(fleet_model(f));
        c->id = err_id();
        snprintf(c->why, sizeof c->why, "%s", err_message());
        err_clear();
        /* The last good model is kept. */
        if (c->n_rounds)
            check(memcmp(c->weights[c->n_rounds - 1], p->flat,
                         p->n_flat * sizeof(float)) == 0);
    }
    fleet_free(f);
    sites_release(&sites);
    plan_free(plan);
}

#define SAME(field)                                                            \
 if (memcmp(&x->field, &y->field, sizeof x->field) != 0) return #field

/* NULL, or the first figure that differs. */
static const char *difference(const struct fleet_round *x,
                              const struct fleet_round *y)
{
    SAME(round);
    SAME(n_attempts);
    SAME(n_invited);
    SAME(n_inputs);
    SAME(n_attackers);
    SAME(loss_before);
    SAME(loss_after);
    SAME(metric);
    SAME(has_metric);
    SAME(personal);
    SAME(has_personal);
    SAME(staleness);
    SAME(pooled.loss);
    SAME(pooled.metric);
    SAME(spread.mean);
    SAME(spread.worst);
    SAME(backdoor);
    SAME(bytes_up);
    SAME(bytes_down);
    SAME(energy_j);
    SAME(virtual_ms);
    return NULL;
}

static void check_same(const struct course *a, const struct course *b,
                       const char *what)
{
    for (unsigned i = 0; i < a->n_rounds && i < b->n_rounds; i++) {
        const char *d = difference(&a->rounds[i], &b->rounds[i]);
        if (d) fail_msg("round %u, %s differs: %s", i + 1, d, what);
        if (a->n_flat != b->n_flat || memcmp(a->weights[i], b->weights[i],
                                             a->n_flat * sizeof(float)) != 0)
            fail_msg("round %u, the model differs: %s", i + 1, what);
    }
    if (a->err != b->err || a->id != b->id || a->n_rounds != b->n_rounds)
        fail_msg("%u rounds (%s) and %u rounds (%s): %s", a->n_rounds, a->why,
                 b->n_rounds, b->why, what);
}

/* Both ways of a plan; the last one's course, for more checks. */
static struct course full, sum;

static void both_of(const char *model, const char *body, const char *sim,
                    unsigned n_rounds)
{
    char what[TEXT_MAX];
    snprintf(what, sizeof what, "model: {%s}\n%s\nsim: {%s}", model, body, sim);
    follow(&full, model, body, "full", sim, n_rounds, 2);
    follow(&sum, model, body, "sum", sim, n_rounds, 2);
    if (full.err == TACIT_INTERNAL)
        fail_msg("the timetable is wrong: %s\n%s", full.why, what);
    check_same(&full, &sum, what);
}

static void both(const char *body, const char *sim, unsigned n_rounds)
{
    both_of(LOGISTIC, body, sim, n_rounds);
    if (sum.err) fail_msg("%s\n%s", sum.why, body);
}

/* ---- strategies --------------------------------------------------------- */

static int is_robust(const char *kind)
{
    static const char *const list[] = {"median",    "trimmed", "krum",
                                       "multikrum", "bulyan",  "geomedian",
                                       "normbound", "cclip",   "fltrust"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(kind, list[i]) == 0) return 1;
    return 0;
}

/* Groups of at least three; Bulyan wants seven of them. */
static void strategy_body(const char *kind, char body[SPARE])
{
    unsigned groups = strcmp(kind, "bulyan") == 0 ? 7 : 5;
    if (!is_robust(kind)) {
        snprintf(body, SPARE, COHORT LOCAL "strategy: {kind: %s}", kind);
        return;
    }
    snprintf(body, SPARE,
             "cohort: {size: %u, min_reports: 3, over_select: 1.25}\n" LOCAL
             "strategy: {kind: %s, groups: %u%s}",
             4 * groups, kind, groups,
             strcmp(kind, "fltrust") == 0 ? ", trusted: 6" : "");
}

static void every_strategy_learns_the_same_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; plan_strategy_name(i); i++) {
        const char *kind = plan_strategy_name(i);
        const char *model =
            strcmp(kind, "fedper") == 0 ? "kind: mlp, hidden: [4]" : LOGISTIC;
        char body[SPARE];
        strategy_body(kind, body);
        both_of(model, body, ", dropout: 0.05, devices: {speed_sd: 1}", 4);
        if (sum.err) fail_msg("%s: %s", kind, sum.why);
        check(memcmp(sum.weights[0], sum.weights[3],
                     sum.n_flat * sizeof(float)) != 0);
    }
}

static void buffers_land_stale_and_the_same_both_ways(void **state)
{
    (void)state;
    uint32_t stalest = 0;
    both("strategy: {kind: fedbuff, concurrent: 3}\n" COHORT LOCAL, HARD, 8);
    for (unsigned i = 0; i < sum.n_rounds; i++)
        if (sum.rounds[i].staleness > stalest)
            stalest = sum.rounds[i].staleness;
    check(stalest > 0);
}

/* All others sit in buffers under way: no buffer begins until one lands. */
static void buffers_that_want_more_than_there_are_wait_for_each_other(
    void **state)
{
    (void)state;
    both("strategy: {kind: fedbuff, concurrent: 6}\n"
         "cohort: {size: 10, min_reports: 8, over_select: 1.2}\n" LOCAL,
         ", devices: {speed_sd: 1}", 6);
    check(sum.n_rounds == 6);
}

/* ---- devices ------------------------------------------------------------ */

static void every_selection_is_the_same_both_ways(void **state)
{
    (void)state;
    static const char *const names[] = {"uniform", "weighted", "available",
                                        "oort"};
    for (size_t i = 0; i < 4; i++) {
        char sim[SPARE];
        snprintf(sim, sizeof sim,
                 ", selection: %s, devices: {speed_sd: 1, available: 0.5, "
                 "battery: 0.5}",
                 names[i]);
        both(COHORT LOCAL, sim, 6);
    }
}

static void faults_of_all_kinds_end_the_same_both_ways(void **state)
{
    (void)state;
    unsigned n_lost = 0, n_again = 0;
    for (unsigned seed = 1; seed <= 4; seed++) {
        char body[SPARE];
        snprintf(body, sizeof body, COHORT LOCAL "seed: %u", seed);
        both(body,
             ", dropout: 0.3, stragglers: 0.5, devices: {speed_sd: 2, "
             "rows_per_s: 10, link_sd: 2, delay: 0.8, duplicate: 0.9, crash: "
             "0.2, skew_s: 100000, available: 0.6}",
             6);
        for (unsigned i = 0; i < sum.n_rounds; i++) {
            n_lost += sum.rounds[i].n_invited - sum.rounds[i].n_inputs;
            n_again += sum.rounds[i].n_attempts - 1;
        }
    }
    check(n_lost > 0 && n_again > 0);
}

/* Training takes an hour, and some devices leave meanwhile: fewer of those that
 * were chosen because they stay. */
static void devices_that_leave_are_lost_the_same_both_ways(void **state)
{
    (void)state;
    static const char body[] =
        "cohort: {size: 9, min_reports: 3, over_select: 1.0}\n" TRAINED
        "deadline: {stage: 30s, train: 4h}\n";
    unsigned lost[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        char sim[SPARE];
        snprintf(sim, sizeof sim,
                 ", selection: %s, devices: {available: 0.5, rows_per_s: "
                 "0.0067, speed_sd: 0.2}",
                 i ? "available" : "uniform");
        both(body, sim, 8);
        for (unsigned k = 0; k < sum.n_rounds; k++)
            lost[i] += sum.rounds[k].n_invited - sum.rounds[k].n_inputs;
    }
    print_message("lost: %u, chosen for staying %u\n", lost[0], lost[1]);
    check(lost[0] > 0 && lost[1] < lost[0]);
}

/* A model whose update takes several chunks: they arrive together. */
static void an_upload_of_many_chunks_takes_its_time_once(void **state)
{
    (void)state;
    static char text[TEXT_MAX];
    for (int way = 0; way < 2; way++) {
        static float got[2][200000];
        static int64_t ms[2];
        struct plan *plan = NULL;
        struct sites sites = {0};
        struct fleet *f = NULL;
        struct fleet_round r;
        int n = snprintf(text, sizeof text, plan_format,
                         "kind: mlp, hidden: [300, 300]", COHORT LOCAL,
                         way ? "sum" : "full", HARD);
        check_ok(plan_parse("large.yaml", text, (size_t)n, &plan));
        check_ok(sites_invent(plan, &sites));
        const struct fleet_config c = {.plan = plan,
                                       .plan_text = text,
                                       .plan_bytes = (size_t)n,
                                       .data = sites.data,
                                       .n_clients = sites.n};
        check_ok(fleet_new(&c, &f));
        check_ok(fleet_round(f, &r));
        const struct params *p = model_params(fleet_model(f));
        check(p->n_flat > 65536 && p->n_flat <= 200000);
        memcpy(got[way], p->flat, p->n_flat * sizeof(float));
        ms[way] = r.virtual_ms;
        fleet_free(f);
        sites_release(&sites);
        plan_free(plan);
        if (!way) continue;
        check(memcmp(got[0], got[1], sizeof got[0]) == 0);
        check(ms[0] == ms[1]);
    }
}

/* ---- groups ------------------------------------------------------------- */

#define GROUPS                                                                 \
 "strategy: {kind: median, groups: 4}\n"                                       \
 "cohort: {size: 16, min_reports: 3, over_select: 1.1}\n" LOCAL

static void groups_are_the_same_both_ways_with_and_without_losses(void **state)
{
    (void)state;
    both(GROUPS, "", 4);
    check(sum.rounds[0].n_inputs == 16 && sum.rounds[0].n_attempts == 1);
    both(GROUPS, HARD, 6);
}

/* Some rounds commit with fewer groups than there are. */
static void a_group_that_fails_does_not_end_the_round(void **state)
{
    (void)state;
    unsigned n_short = 0;
    both(GROUPS, ", dropout: 0.25", 8);
    for (unsigned i = 0; i < sum.n_rounds; i++)
        n_short += sum.rounds[i].n_inputs < 12;
    check(n_short > 0); /* fewer than four groups of three */
}

/* The first group is the trusted one, in every round. */
static void the_trusted_group_has_seats_of_its_own(void **state)
{
    (void)state;
    both("strategy: {kind: fltrust, groups: 3, trusted: 4}\n"
         "cohort: {size: 12, min_reports: 3, over_select: 1.0}\n" LOCAL,
         ", attack: {kind: sign_flip, share: 0.9}", 5);
    for (unsigned i = 0; i < sum.n_rounds; i++) {
        check(sum.rounds[i].n_inputs == 12);
        /* Of the eight others, never of the trusted four. */
        check(sum.rounds[i].n_attackers <= 8 && sum.rounds[i].n_attackers >= 5);
    }
}

/* ---- attacks ------------------------------------------------------------ */

static void every_attack_is_the_same_both_ways(void **state)
{
    (void)state;
    static const char *const names[] = {"label_flip", "sign_flip",  "scale",
                                        "backdoor",   "free_rider", "collude",
                                        "nan"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char sim[SPARE];
        unsigned n_attackers = 0;
        snprintf(sim, sizeof sim, ", attack: {kind: %s, share: 0.25}%s",
                 names[i], i % 2 ? HARD : "");
        both("cohort: {size: 9, min_reports: 3, over_select: 1.4}\n" LOCAL, sim,
             5);
        for (unsigned k = 0; k < sum.n_rounds; k++)
            n_attackers += sum.rounds[k].n_attackers;
        check((n_attackers > 0) == (strcmp(names[i], "nan") != 0));
        check(sum.rounds[4].has_backdoor ==
              (strcmp(names[i], "backdoor") == 0));
    }
}

/* The largest factor saturates in the ring, and ends nothing. */
static void an_attack_beyond_all_bounds_saturates_both_ways(void **state)
{
    (void)state;
    both(COHORT LOCAL, ", attack: {kind: scale, share: 0.2, factor: 1000000}",
         4);
}

static const char exposed[] =
    "cohort: {size: 10, min_reports: 5, over_select: 1.2}\n" LOCAL
    "secagg: {mode: off}\n";

/* Without masks NaN is seen, left out, and the others go on. */
static void nan_is_left_out_where_updates_are_seen(void **state)
{
    (void)state;
    char body[SPARE];
    snprintf(body, sizeof body, "%sstrategy: {kind: median}", exposed);
    follow(&sum, LOGISTIC, body, "sum", ", attack: {kind: nan, share: 0.4}", 5,
           2);
    check(sum.err == TACIT_OK);
    unsigned n = 0;
    for (unsigned i = 0; i < 5; i++) n += sum.rounds[i].n_attackers;
    check(n > 0);
    for (size_t k = 0; k < sum.n_flat; k++) check(isfinite(sum.weights[4][k]));
}

/* Nobody's update is a number: the run ends there, and is not tried again. */
static void a_round_of_nan_alone_ends_the_run(void **state)
{
    (void)state;
    follow(&sum, LOGISTIC, exposed, "sum", ", attack: {kind: nan, share: 0.95}",
           8, 2);
    check(sum.id == E_LOSS_NAN);
    check(strstr(sum.why, "updates is a number") != NULL);
    for (unsigned i = 0; i < sum.n_rounds; i++)
        for (size_t k = 0; k < sum.n_flat; k++)
            check(isfinite(sum.weights[i][k]));
}

/* A planted backdoor works better than none, and a rule that compares updates
 * keeps it out. */
static void a_backdoor_is_measured(void **state)
{
    (void)state;
    static const char attack[] =
        ", attack: {kind: backdoor, share: 0.2, factor: 20, to: 1}";
    static const char idle[] =
        ", attack: {kind: backdoor, share: 0, factor: 20, to: 1}";
    char median[SPARE];
    double open, none, kept_out;
    snprintf(median, sizeof median, "%sstrategy: {kind: median}", exposed);
    follow(&sum, LOGISTIC, exposed, "sum", attack, 8, 2);
    check(sum.err == TACIT_OK && sum.rounds[7].has_backdoor);
    open = sum.rounds[7].backdoor;
    follow(&sum, LOGISTIC, exposed, "sum", idle, 8, 2);
    check(sum.err == TACIT_OK && sum.rounds[7].has_backdoor);
    none = sum.rounds[7].backdoor;
    follow(&sum, LOGISTIC, median, "sum", attack, 8, 2);
    kept_out = sum.rounds[7].backdoor;
    print_message("backdoor: mean %.2f, no attack %.2f, median %.2f\n", open,
                  none, kept_out);
    check(open >= 0 && open <= 1 && none >= 0);
    check(open > none + .3 && open > kept_out + .3);
}

/* ---- any settings ------------------------------------------------------- */

static double choose(struct rng *r, double most)
{
    return rng_below(r, 3) ? rng_f64(r) * most : 0;
}

static void random_body(struct rng *r, char body[SPARE])
{
    unsigned groups = rng_below(r, 3) ? 0 : 2 + (unsigned)rng_below(r, 4);
    unsigned least = 2 + (unsigned)rng_below(r, 4);
    unsigned each = least + (unsigned)rng_below(r, 4);
    const char *kind = "median";
    size_t n = 0;
    while (plan_strategy_name(n)) n++;
    while (!groups) {
        kind = plan_strategy_name((size_t)rng_below(r, n));
        if (!is_robust(kind) && strcmp(kind, "fedper") != 0) break;
    }
    if (groups && least * groups > 30) groups = 2;
    snprintf(body, SPARE,
             "cohort: {size: %u, min_reports: %u, over_select: %.2f}\n"
             "local: {steps: %u, batch: 8, learning_rate: 0.05}\n"
             "deadline: {stage: 30s, train: 2m}\n"
             "weighting: {by: %s}\nsecagg: {ring_bits: %u}\nseed: %u\n"
             "strategy: {kind: %s%s%.0u}",
             each * (groups ? groups : 1), least, 1 + rng_f64(r) / 2,
             1 + (unsigned)rng_below(r, 4),
             rng_below(r, 2) ? "uniform" : "examples",
             rng_below(r, 2) ? 24U : 32U, (unsigned)rng_below(r, 1000), kind,
             groups ? ", groups: " : "", groups);
}

static void random_sim(struct rng *r, char sim[SPARE])
{
    static const char *const selections[] = {"uniform", "weighted", "available",
                                             "oort"};
    static const char *const attacks[] = {"none",       "sign_flip", "scale",
                                          "free_rider", "collude",   "nan",
                                          "label_flip", "backdoor"};
    snprintf(sim, SPARE,
             ", dropout: %.3f, stragglers: %.3f, selection: %s, attack: {kind: "
             "%s, share: %.3f}, devices: {speed_sd: %.2f, link_sd: %.2f, "
             "latency_ms: %u, rows_per_s: %u, delay: %.2f, duplicate: %.2f, "
             "crash: %.2f, available: %.2f, battery: %.2f, skew_s: %.0f}",
             choose(r, .3), choose(r, 1), selections[rng_below(r, 4)],
             attacks[rng_below(r, 8)], choose(r, .3), choose(r, 2),
             choose(r, 2), (unsigned)rng_below(r, 2) * 500,
             rng_below(r, 2) ? 1000U : 3U, choose(r, .9), choose(r, .9),
             choose(r, .2), rng_below(r, 2) ? 1 : .4 + rng_f64(r) * .6,
             choose(r, 1), choose(r, 1e5));
}

static void random_plans_are_the_same_both_ways(void **state)
{
    (void)state;
    unsigned n_whole = 0;
    for (uint64_t i = 0; i < 40; i++) {
        struct rng r;
        char body[SPARE], sim[SPARE];
        rng_init(&r, 0x706c616e73, i, 0);
        random_body(&r, body);
        random_sim(&r, sim);
        both_of(LOGISTIC, body, sim, 3);
        n_whole += !sum.err;
    }
    print_message("%u of 40 plans ran to the end\n", n_whole);
    check(n_whole >= 20); /* the others fail alike */
}

static void the_sum_does_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    static struct course two, four;
    static const char *const bodies[] = {
        COHORT LOCAL, GROUPS, "strategy: {kind: scaffold}\n" COHORT LOCAL,
        "strategy: {kind: fedbuff}\n" COHORT LOCAL,
        "strategy: {kind: geomedian}\nsecagg: {mode: off}\n" COHORT LOCAL};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        follow(&sum, LOGISTIC, bodies[i], "sum", HARD, 5, 1);
        follow(&two, LOGISTIC, bodies[i], "sum", HARD, 5, 2);
        follow(&four, LOGISTIC, bodies[i], "sum", HARD, 5, 4);
        check(sum.n_rounds > 0);
        check_same(&sum, &two, bodies[i]);
        check_same(&sum, &four, bodies[i]);
    }
}

/* ---- what cannot work --------------------------------------------------- */

/* It says how many could be reached, both ways, in bounded time. */
static void clients_who_cannot_be_reached_are_counted(void **state)
{
    (void)state;
    both_of(LOGISTIC, COHORT LOCAL, ", devices: {available: 0.01}", 3);
    check(sum.err == TACIT_LIMIT && sum.n_rounds == 0);
    check(strstr(sum.why, "round 1") && strstr(sum.why, "of 36 clients"));
    check(strstr(sum.why, "needs 4") && strstr(sum.why, "available"));
    both_of(LOGISTIC, "strategy: {kind: fedbuff}\n" COHORT LOCAL,
            ", devices: {available: 0.01}", 3);
    check(sum.err == TACIT_LIMIT && strstr(sum.why, "of 36 clients"));
}

/* Enough at some hour of the day: the clock goes there, and no attempt is
 * lost. */
static void a_round_waits_for_the_hour_when_enough_are_there(void **state)
{
    (void)state;
    both("cohort: {size: 9, min_reports: 9, over_select: 1.0}\n" LOCAL,
         ", devices: {available: 0.15}", 3);
    check(sum.rounds[0].n_attempts == 1);
    check(sum.rounds[0].virtual_ms >= 600000);
}

static void a_loss_that_is_no_number_names_round_and_client(void **state)
{
    (void)state;
    /* Nothing holds the steps: the weights leave what a float can hold. */
    both_of(LOGISTIC,
            "local: {steps: 50, batch: 8, learning_rate: 100, optimizer: sgd, "
            "weight_decay: 1}\n" COHORT "deadline: {stage: 30s, train: 2m}\n",
            "", 3);
    check(sum.id == E_LOSS_NAN && sum.n_rounds == 0);
    check(strstr(sum.why, "round 1, client ") != NULL);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_strategy_learns_the_same_both_ways),
        cmocka_unit_test(buffers_land_stale_and_the_same_both_ways),
        cmocka_unit_test(
            buffers_that_want_more_than_there_are_wait_for_each_other),
        cmocka_unit_test(every_selection_is_the_same_both_ways),
        cmocka_unit_test(faults_of_all_kinds_end_the_same_both_ways),
        cmocka_unit_test(devices_that_leave_are_lost_the_same_both_ways),
        cmocka_unit_test(an_upload_of_many_chunks_takes_its_time_once),
        cmocka_unit_test(groups_are_the_same_both_ways_with_and_without_losses),
        cmocka_unit_test(a_group_that_fails_does_not_end_the_round),
        cmocka_unit_test(the_trusted_group_has_seats_of_its_own),
        cmocka_unit_test(every_attack_is_the_same_both_ways),
        cmocka_unit_test(an_attack_beyond_all_bounds_saturates_both_ways),
        cmocka_unit_test(nan_is_left_out_where_updates_are_seen),
        cmocka_unit_test(a_round_of_nan_alone_ends_the_run),
        cmocka_unit_test(a_backdoor_is_measured),
        cmocka_unit_test(random_plans_are_the_same_both_ways),
        cmocka_unit_test(the_sum_does_not_depend_on_the_number_of_threads),
        cmocka_unit_test(clients_who_cannot_be_reached_are_counted),
        cmocka_unit_test(a_round_waits_for_the_hour_when_enough_are_there),
        cmocka_unit_test(a_loss_that_is_no_number_names_round_and_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
