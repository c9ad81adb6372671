/* task: a plan's privacy block in the terms of accountant, record and ring. */
#include <math.h>
#include <stdio.h>

#include "common/base/codes.h"
#include "common/privacy/accountant.h"
#include "common/privacy/dgauss.h"
#include "common/task/task.h"

/* Below this, a sum of discrete Gaussians would have to be told from a discrete
 * Gaussian of the whole variance: at 4 they differ by 10 e^(-158) (Kairouz,
 * Liu, Steinke 2021, theorem 1), which no double of the accountant sees. */
#define LOCAL_SD_MIN 4.0

/* What of a ring's half the devices' sums may fill; noise has the rest. */
#define SUMS_MAX ((int64_t)1 << 30)

/* The noise of a plan, worked out once for all rounds and seats of a thread. */
static enum tacit_err noise_of(const struct plan_privacy *v, uint64_t uploads,
                               double *out)
{
    static _Thread_local struct {
        struct plan_privacy of;
        uint64_t uploads;
        double noise;
    } kept;
    const struct plan_privacy *k = &kept.of;
    int same = k->record && kept.uploads == uploads &&
               !(k->epsilon < v->epsilon || k->epsilon > v->epsilon) &&
               !(k->delta < v->delta || k->delta > v->delta) &&
               !(k->sample < v->sample || k->sample > v->sample);
    if (!same) {
        TRY(account_noise(v->epsilon, v->delta, v->sample, uploads,
                          &kept.noise));
        kept.of = *v;
        kept.uploads = uploads;
    }
    *out = kept.noise;
    return TACIT_OK;
}

static enum tacit_err take_noise(const struct plan *plan,
                                 struct task_privacy *out)
{
    const struct plan_privacy *v = &plan->privacy;
    enum tacit_err err = noise_of(v, out->uploads, &out->least);
    if (err) {
        err_clear();
        return fail_as(E_PRIVACY_NOISE,
                       "plan %s: epsilon %g in %llu sums at sample %g wants "
                       "more noise than there may be: fewer rounds, a lower "
                       "privacy.sample, or a higher privacy.epsilon",
                       plan->name, v->epsilon, (unsigned long long)out->uploads,
                       v->sample);
    }
    out->noise = v->noise > 0 ? v->noise : out->least;
    out->epsilon =
        account_epsilon_of(v->sample, out->noise, out->uploads, v->delta);
    if (out->epsilon <= v->epsilon) return TACIT_OK;
    return fail_as(E_PRIVACY_NOISE,
                   "plan %s: privacy.noise %g comes to epsilon %.4g in %llu "
                   "sums at sample %g; privacy.epsilon is %g: at least %.4f, "
                   "or auto",
                   plan->name, out->noise, out->epsilon,
                   (unsigned long long)out->uploads, v->sample, v->epsilon,
                   out->least);
}

enum tacit_err task_privacy(const struct plan *plan,
                            const struct ring_layout *l,
                            struct task_privacy *out)
{
    const struct plan_privacy *v = &plan->privacy;
    *out = (struct task_privacy){.record = v->record};
    if (!v->record) return TACIT_OK;
    out->uploads = (uint64_t)plan->rounds + v->retries;
    TRY(take_noise(plan, out));
    double honest = (double)(plan->min_reports - v->colluders);
    double unit = (double)rowsum_unit(l->n_params);
    double variance = ceil(out->noise * out->noise * unit * unit / honest);
    if (!(variance <= (double)DGAUSS_VARIANCE_MAX))
        return fail_as(E_PRIVACY_NOISE,
                       "plan %s: noise of %g times the clip has no room in the "
                       "ring: fewer rounds, or a lower privacy.sample",
                       plan->name, out->noise);
    if (variance < LOCAL_SD_MIN * LOCAL_SD_MIN)
        variance = LOCAL_SD_MIN * LOCAL_SD_MIN;
    out->bounds =
        (struct rowsum_bounds){.clip = v->clip,
                               .unit = (uint32_t)unit,
                               .limit = (int32_t)(SUMS_MAX / l->clients_max),
                               .variance = (uint64_t)variance};
    return TACIT_OK;
}

double task_private_scale(const struct plan *plan, const struct ring_layout *l)
{
    /* ring_decode() divides by ring_limit: one unit is then clip / batch. */
    return (double)ring_limit(l) * plan->privacy.clip /
           ((double)rowsum_unit(l->n_params) * (double)plan->batch);
}

void task_privacy_text(const struct plan *plan, char out[TASK_PRIVACY_TEXT])
{
    const struct plan_privacy *v = &plan->privacy;
    struct task_privacy p = {.uploads = (uint64_t)plan->rounds + v->retries};
    if (v->record && take_noise(plan, &p)) err_clear();
    if (p.noise > 0)
        snprintf(out, TASK_PRIVACY_TEXT,
                 "record-level differential privacy: epsilon %.4g at delta %g "
                 "for one training row, in at most %llu sums; noise %.4g times "
                 "the clip, sample %g",
                 p.epsilon, v->delta, (unsigned long long)p.uploads, p.noise,
                 v->sample);
    else
        snprintf(out, TASK_PRIVACY_TEXT,
                 "no differential-privacy noise: epsilon is not bounded");
}
