/* plan: the privacy block, and what cannot stand beside it: whatever would make
 * one row count for more than its clipped gradient, or leave without noise. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/plan/plan_check.h"

#define NOISE_MIN 0.2
#define NOISE_MAX 4096.0

static int is(const char *text, const char *name)
{
    return strcmp(text, name) == 0;
}

static enum tacit_err take_noise(const struct check *c, const char *text)
{
    char *end;
    double *out = &c->plan->privacy.noise;
    *out = 0;
    if (!text || is(text, "auto")) return TACIT_OK;
    *out = strtod(text, &end);
    if (end != text && !*end && *out >= NOISE_MIN && *out <= NOISE_MAX)
        return TACIT_OK;
    *out = 0;
    return plan_wrong(c, "privacy.noise",
                      "privacy.noise is \"%s\"; it may be auto, or %g to %g "
                      "times the clip",
                      text, NOISE_MIN, NOISE_MAX);
}

/* Keys of others that a round of one gradient does not read. */
static enum tacit_err check_unread(const struct check *c,
                                   const struct raw_plan *raw)
{
    static const struct raw_local none;
    /* A model of the device's own is trained as they say. */
    int own = c->plan->strategy.personalises;
    const struct raw_local *l = raw->local && !own ? raw->local : &none;
    const struct {
        const char *key;
        int given;
        const char *instead;
    } rows[] = {
        {"clip", raw->clip != NULL, "privacy.clip bounds each row"},
        {"local.steps", l->steps != NULL, "rounds are the steps"},
        {"local.epochs", l->epochs != NULL, "rounds are the steps"},
        {"local.optimizer", l->optimizer != NULL,
         "the coordinator steps, by strategy"},
        {"local.learning_rate", l->learning_rate != NULL,
         "strategy.server_learning_rate is the rate"},
        {"local.momentum", l->momentum != NULL,
         "strategy.kind: fedavgm has momentum"},
        {"local.weight_decay", l->weight_decay != NULL, "leave it out"},
        {"sim.stragglers", c->plan->sim.stragglers > 0,
         "a round is one step of everybody"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].given)
            TRY(plan_wrong(c, rows[i].key,
                           "%s has no effect under privacy, where a round is "
                           "one sum of clipped gradients: %s",
                           rows[i].key, rows[i].instead));
    return TACIT_OK;
}

static enum tacit_err check_strategy(const struct check *c)
{
    static const char *const fit[] = {"fedavg",  "fedavgm",    "fedadam",
                                      "fedyogi", "fedadagrad", "finetune"};
    const struct plan *p = c->plan;
    for (size_t i = 0; i < sizeof fit / sizeof *fit; i++)
        if (is(p->strategy.kind, fit[i])) return TACIT_OK;
    return plan_wrong(c, "strategy.kind",
                      "strategy.kind is %s; under privacy only the noisy sum "
                      "may be read: fedavg, fedavgm, fedadam, fedyogi, "
                      "fedadagrad or finetune",
                      p->strategy.kind);
}

/* Where one row would reach into what another row gives. */
static enum tacit_err check_rows(const struct check *c)
{
    const struct plan *p = c->plan;
    if (p->task == PLAN_COX)
        return plan_wrong(c, "task",
                          "task cox compares rows with each other; under "
                          "privacy each must have a gradient of its own");
    if (p->format == PLAN_TEXT && !plan_has_base(p))
        return plan_wrong(c, "data.format",
                          "data.format: text cuts one document into many rows; "
                          "under privacy take an lm plan with a base, where a "
                          "row is one text");
    if (p->task == PLAN_RETRIEVER && !p->hard_negatives)
        return plan_wrong(c, "task",
                          "a retriever's negatives may not be other people's "
                          "questions under privacy: local.hard_negatives of at "
                          "least 1, passages of indexed documents");
    if (is(p->norm, "batch"))
        return plan_wrong(c, "model.norm",
                          "model.norm: batch mixes the rows of a batch; under "
                          "privacy take group or none");
    if (p->n_columns && p->standardise == PLAN_STANDARDISE_SITE)
        return plan_wrong(c, "data.standardise",
                          "data.standardise: site scales every row by all "
                          "others, without noise; under privacy write plan "
                          "(with mean and sd) or none");
    return TACIT_OK;
}

static enum tacit_err check_sum(const struct check *c,
                                const struct raw_plan *raw)
{
    const struct plan *p = c->plan;
    enum plan_attack attack = p->sim.attack;
    if (raw->weighting && raw->weighting->by && p->weighting != PLAN_UNIFORM)
        TRY(plan_wrong(c, "weighting.by",
                       "weighting.by: examples sends the number of rows "
                       "without noise; under privacy every device counts by "
                       "its sum, as with uniform"));
    if (p->secagg_off)
        TRY(plan_wrong(c, "secagg.mode",
                       "secagg.mode: off shows each device's part, which holds "
                       "only its share of the noise"));
    if (p->ring_bits != 32)
        TRY(plan_wrong(c, "secagg.ring_bits",
                       "secagg.ring_bits is %u; noise wants 32", p->ring_bits));
    if (p->sim.selection == PLAN_SELECT_OORT ||
        p->sim.selection == PLAN_SELECT_WEIGHTED)
        TRY(plan_wrong(c, "sim.selection",
                       "sim.selection goes by losses or row counts, which do "
                       "not leave a device under privacy"));
    if (attack != PLAN_ATTACK_NONE && attack != PLAN_ATTACK_LABEL_FLIP)
        TRY(plan_wrong(c, "sim.attack",
                       "sim.attack changes updates; under privacy only "
                       "label_flip is played"));
    if (p->privacy.colluders >= p->min_reports)
        return plan_wrong(c, "privacy.colluders",
                          "privacy.colluders is %u of cohort.min_reports %u; "
                          "somebody must be left whose noise is secret",
                          p->privacy.colluders, p->min_reports);
    return TACIT_OK;
}

enum tacit_err plan_take_privacy(const struct check *c,
                                 const struct raw_plan *raw)
{
    static const char *const units[] = {"record"};
    const struct raw_privacy *r = raw->privacy;
    struct plan *p = c->plan;
    struct plan_privacy *v = &p->privacy;
    size_t unit = 0;
    if (!r) return TACIT_OK;
    v->record = 1;
    if (r->unit) TRY(plan_choice(c, "privacy.unit", r->unit, units, 1, &unit));
    TRY(plan_real(c, "privacy.epsilon", r->epsilon, 0.01, 100, 8, &v->epsilon));
    TRY(plan_real(c, "privacy.delta", r->delta, 1e-12, 0.01, 1e-5, &v->delta));
    TRY(plan_real(c, "privacy.clip", r->clip, 1e-6, 1e6, 1, &v->clip));
    TRY(plan_real(c, "privacy.sample", r->sample, 1e-6, 1, 1, &v->sample));
    TRY(take_noise(c, r->noise));
    TRY(plan_integer(c, "privacy.colluders", r->colluders, 0, PLAN_CLIENTS_MAX,
                     1, &v->colluders));
    TRY(plan_integer(c, "privacy.retries", r->retries, 0, 100000,
                     p->rounds / 10, &v->retries));
    TRY(check_unread(c, raw));
    TRY(check_strategy(c));
    TRY(check_rows(c));
    TRY(check_sum(c, raw));
    p->clip = v->clip;
    p->weighting = PLAN_UNIFORM;
    return TACIT_OK;
}
