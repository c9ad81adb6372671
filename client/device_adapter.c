/* device: the model that searches here, of those that it has adopted. */
#include <stdlib.h>
#include <string.h>

#include "client/device.h"
#include "client/trial.h"
#include "common/strategy/strategy.h"
#include "common/task/task.h"
#include "common/wire/blob.h"

/* NULL where the plan is not at hand. */
static enum tacit_err plan_of(struct device *d, const struct digest *hash,
                              struct plan **out)
{
    struct buf text;
    *out = NULL;
    buf_init(&text, PLAN_BYTES_MAX);
    enum tacit_err err = blob_get(d->blobs, hash, PLAN_BYTES_MAX, &text);
    int is_here = !err;
    if (err && err != TACIT_NOMEM) {
        err_clear();
        err = TACIT_OK;
    }
    if (is_here)
        err = plan_parse("plan", (const char *)text.data, text.len, out);
    buf_release(&text);
    return err;
}

enum tacit_err device_along(struct device *d, const struct digest *plan,
                            struct model_along *out)
{
    struct plan *p;
    TRY(plan_of(d, plan, &p));
    if (p) *out = (struct model_along){p->seeds, p->seed};
    plan_free(p);
    return TACIT_OK;
}

/* ---- its own model ------------------------------------------------------ */

/* Whether what is kept of a plan is a model, for the encoder of this program
 * where the plan is for one. */
static enum tacit_err is_own(struct device *d, const struct digest *hash,
                             int *out)
{
    const struct strategy *s;
    struct plan *p;
    *out = 0;
    TRY(plan_of(d, hash, &p));
    if (!p) return TACIT_OK;
    int is_bare = p->task == PLAN_RETRIEVER && !plan_has_base(p);
    enum tacit_err err = strategy_find(p->strategy.kind, &s);
    plan_free(p);
    TRY(err);
    *out = strategy_keeps_model(s);
    return *out && is_bare ? device_fits_encoder(d, hash, out) : TACIT_OK;
}

static enum tacit_err is_kept(struct device *d, const struct digest *hash,
                              int *out)
{
    int64_t n = 0;
    TRY(db_int(&d->db, &n, "SELECT count(*) FROM kept WHERE plan_hash = ?", "b",
               (const void *)hash->b, (size_t)DIGEST_BYTES));
    *out = n > 0;
    return TACIT_OK;
}

enum tacit_err device_own(struct device *d, const struct digest *plan_hash,
                          struct params *p, int *has)
{
    float *own = NULL;
    TRY(is_own(d, plan_hash, has));
    if (*has && !p) return is_kept(d, plan_hash, has);
    if (*has) TRY(device_state(d, plan_hash, p->n_flat, &own));
    *has = own != NULL;
    if (own) memcpy(p->flat, own, p->n_flat * sizeof *own);
    free(own);
    return TACIT_OK;
}

/* ---- the built-in encoder's adapter ------------------------------------- */

struct newest {
    int found;
    struct device_model m;
};

static enum tacit_err note_retriever(const struct device_model *m, void *ctx)
{
    struct newest *n = ctx;
    if (m->task == PLAN_RETRIEVER && strcmp(m->kind, "static") == 0)
        *n = (struct newest){1, *m};
    return TACIT_OK;
}

static enum tacit_err load(struct device *d, const struct digest *plan_hash,
                           enum trial_choice which, struct params *p)
{
    int has;
    TRY(device_weights(d, plan_hash, p));
    return which == TRIAL_OWN ? device_own(d, plan_hash, p, &has) : TACIT_OK;
}

enum tacit_err device_adapter(struct device *d, size_t dim, float **out)
{
    struct newest n = {0};
    struct model_spec spec = {.kind = "static",
                              .task = MODEL_RETRIEVER,
                              .n_inputs = dim};
    struct model *m = NULL;
    struct trial t = {0};
    int fits = 0;
    TRY(device_models(d, note_retriever, &n));
    if (n.found) TRY(device_fits_encoder(d, &n.m.model_hash, &fits));
    if (fits) TRY(trial_find(d, &n.m.plan_hash, &t));
    enum trial_choice which = trial_choose(&t);
    if (!fits || which == TRIAL_UNTRAINED) {
        *out = NULL;
        return TACIT_OK;
    }
    TRY(device_along(d, &n.m.plan_hash, &spec.along));
    TRY(model_new(&spec, &m));
    enum tacit_err err = load(d, &n.m.plan_hash, which, model_params(m));
    const struct params *p = model_weights(m);
    float *w = err ? NULL : malloc(p->n_flat * sizeof *w);
    if (!err && !w) err = fail(TACIT_NOMEM, "no memory for the adapter");
    if (w) {
        memcpy(w, p->flat, p->n_flat * sizeof *w);
        *out = w;
    }
    model_free(m);
    return err ? err_context(err, "the retriever model of plan %s", n.m.plan)
               : TACIT_OK;
}
