#include "client/private_round.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/crypto/secret.h"
#include "common/privacy/dgauss.h"
#include "common/privacy/ring.h"

struct summing {
    const struct rowsum_bounds *bounds;
    size_t n;
    float *grad;      /* [n] */
    int32_t *scratch; /* [n] */
    int64_t *sum;     /* [n] */
};

static enum tacit_err make_room(struct summing *s)
{
    s->grad = malloc(s->n * sizeof *s->grad);
    s->scratch = malloc(s->n * sizeof *s->scratch);
    s->sum = calloc(s->n, sizeof *s->sum);
    return s->grad && s->scratch && s->sum
               ? TACIT_OK
               : fail(TACIT_NOMEM, "a sum of %zu weights", s->n);
}

static void give_back(struct summing *s)
{
    if (s->grad) secret_wipe(s->grad, s->n * sizeof *s->grad);
    if (s->scratch) secret_wipe(s->scratch, s->n * sizeof *s->scratch);
    if (s->sum) secret_wipe(s->sum, s->n * sizeof *s->sum);
    free(s->grad);
    free(s->scratch);
    free(s->sum);
}

/* A batch of one: nothing of a gradient is another row's. */
static enum tacit_err add_rows(struct summing *s, struct model *m,
                               const struct examples *ex, struct rng *rng,
                               double sample)
{
    for (size_t i = 0; i < ex->n_rows; i++) {
        uint32_t row = (uint32_t)i;
        float loss;
        if (!dgauss_chance(rng, sample)) continue;
        TRY(model_gradient(m, ex, &row, 1, s->grad, &loss));
        (void)rowsum_add(s->bounds, s->grad, s->n, s->scratch, s->sum);
    }
    return TACIT_OK;
}

static enum tacit_err check_rows(const struct trainer_task *t,
                                 const struct examples *ex)
{
    if (t->plan->task != PLAN_RETRIEVER) return TACIT_OK;
    if (ex->hard) return TACIT_OK;
    return fail_as(E_PRIVACY_NEGATIVES,
                   "plan %s: no indexed document gives a question a passage "
                   "that is wrong for it",
                   t->plan->name);
}

enum tacit_err private_round(const struct trainer_task *t, struct model *m,
                             const struct dataset *d, struct trained *out)
{
    struct summing s = {.bounds = &t->privacy->bounds,
                        .n = model_params(m)->n_flat};
    struct rng rng;
    assert(t->privacy && t->secret);
    TRY(check_rows(t, &d->train));
    if (!out->whole) out->whole = malloc(s.n * sizeof *out->whole);
    if (!out->whole) return fail(TACIT_NOMEM, "a sum of %zu weights", s.n);
    rng_keyed(&rng, t->secret);
    dgauss_draw(&rng, s.bounds->variance, out->whole, s.n);
    enum tacit_err err = make_room(&s);
    if (!err) err = add_rows(&s, m, &d->train, &rng, t->plan->privacy.sample);
    if (!err) rowsum_close(s.bounds, s.sum, s.n, out->whole);
    give_back(&s);
    secret_wipe(&rng, sizeof rng);
    memset(out->metrics, 0, sizeof out->metrics);
    out->weight = RING_WEIGHT_MAX;
    out->n_examples = d->train.n_rows;
    return err;
}
