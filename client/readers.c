#include "client/readers.h"

#include <stdio.h>
#include <string.h>

#include "client/adapters.h"
#include "common/base/codes.h"
#include "common/model/model_files.h"
#include "common/task/task.h"

enum { ADOPTED_MAX = 8 /* the newest; older ones are not looked at */ };

const char *const readers_migrations[READERS_N_MIGRATIONS] = {
    "CREATE TABLE answer_reader("
    " one INTEGER PRIMARY KEY CHECK(one = 1), name TEXT NOT NULL,"
    " hash BLOB NOT NULL) STRICT;"};

static const struct networks_role role = {.table = "answer_reader"};

/* ---- what there is ------------------------------------------------------- */

enum tacit_err readers_chosen(struct device *d, char out[NETWORK_NAME_MAX])
{
    struct networks_choice c;
    TRY(networks_chosen(d, &role, &c));
    memcpy(out, c.name, sizeof c.name);
    return TACIT_OK;
}

/* Adopted readers, oldest first; the newest ADOPTED_MAX. */
struct adopted {
    struct device_model list[ADOPTED_MAX];
    size_t n;
};

static enum tacit_err note(const struct device_model *m, void *ctx)
{
    struct adopted *a = ctx;
    if (m->task != PLAN_READER) return TACIT_OK;
    if (a->n == ADOPTED_MAX)
        memmove(a->list, a->list + 1, --a->n * sizeof *a->list);
    a->list[a->n++] = *m;
    return TACIT_OK;
}

static void set_aside(struct readers *r, const struct device_model *m,
                      const char *why)
{
    if (r->aside[0]) return; /* the newest says it */
    snprintf(r->aside, sizeof r->aside, "plan %s version %u %s", m->plan,
             m->version, why);
}

/* ---- opening ------------------------------------------------------------- */

static enum tacit_err read_own(void *ctx, const struct reader_pair *p,
                               struct span_found *out)
{
    return span_reader_read(ctx, p, out);
}

static enum tacit_err read_net(void *ctx, const struct reader_pair *p,
                               struct span_found *out)
{
    return net_reader_read(ctx, p, out);
}

static void use_own(struct readers *r)
{
    r->use = (struct passage_reader){r->name, r->own, read_own};
    r->reader = &r->use;
}

static void use_net(struct readers *r)
{
    r->use = (struct passage_reader){r->name, r->net, read_net};
    r->reader = &r->use;
}

static enum tacit_err open_weights(struct device *d,
                                   const struct device_model *m,
                                   struct readers *r)
{
    struct model_spec spec = {.kind = "reader", .task = MODEL_READER};
    struct model *model = NULL;
    TRY(device_along(d, &m->plan_hash, &spec.along));
    TRY(model_new(&spec, &model));
    enum tacit_err err = device_weights(d, &m->plan_hash, model_params(model));
    const struct params *p = model_weights(model);
    if (!err) err = span_reader_new(p->flat, p->n_flat, &r->own);
    model_free(model);
    if (err) return err_context(err, "the reader of plan %s", m->plan);
    snprintf(r->name, sizeof r->name, "plan %s version %u", m->plan,
             m->version);
    use_own(r);
    return TACIT_OK;
}

static enum tacit_err try_weights(struct device *d,
                                  const struct device_model *m,
                                  const struct networks_choice *c,
                                  struct readers *r)
{
    int fits = 0;
    TRY(device_fits_encoder(d, &m->model_hash, &fits));
    if (c->name[0])
        set_aside(r, m, "learnt on the built-in reader; another one reads");
    else if (!fits)
        set_aside(r, m, "was learnt over another built-in encoder's words");
    else
        return open_weights(d, m, r);
    return TACIT_OK;
}

static enum tacit_err open_adapter(const struct adapter_found *a,
                                   struct readers *r)
{
    const struct params *p = model_weights(a->model);
    TRY(net_reader_adapted(&a->spec.base, p->flat, p->n_flat, &r->net));
    snprintf(r->name, sizeof r->name, "plan %s version %u over %s",
             a->plan->name, a->version, a->plan->base.name);
    use_net(r);
    return TACIT_OK;
}

static enum tacit_err try_adapter(struct device *d,
                                  const struct device_model *m,
                                  const struct networks_choice *c,
                                  struct readers *r)
{
    struct adapter_found a;
    enum tacit_err err = adapters_find(d, m->plan, &a);
    if (err && err_id() == E_BASE_MISSING) {
        err_clear();
        set_aside(r, m,
                  "is for a base that is not here; `tacit model import` it");
        return TACIT_OK;
    }
    TRY(err);
    if (c->name[0] && !digest_equal(&c->hash, &a.plan->base.hash))
        set_aside(r, m, "is for another base than the network that reads");
    else
        err = open_adapter(&a, r);
    adapters_release(&a);
    return err;
}

static enum tacit_err open_chosen(struct device *d,
                                  const struct networks_choice *c,
                                  struct readers *r)
{
    char path[DEVICE_PATH_MAX];
    const struct network_row m = {.hash = c->hash};
    TRY(networks_path(d, &m, path));
    enum tacit_err err = net_reader_open(path, &r->net);
    if (err) return err_context(err, "model %s", c->name);
    snprintf(r->name, sizeof r->name, "%s", c->name);
    use_net(r);
    return TACIT_OK;
}

static enum tacit_err open_best(struct device *d, struct readers *r)
{
    struct networks_choice c;
    struct adopted a = {.n = 0};
    TRY(networks_chosen(d, &role, &c));
    TRY(device_models(d, note, &a));
    for (size_t i = a.n; i-- > 0 && !r->reader;)
        TRY(strcmp(a.list[i].kind, "net") == 0
                ? try_adapter(d, &a.list[i], &c, r)
                : try_weights(d, &a.list[i], &c, r));
    if (!r->reader && c.name[0]) TRY(open_chosen(d, &c, r));
    if (!r->reader) snprintf(r->name, sizeof r->name, "built-in");
    return TACIT_OK;
}

enum tacit_err readers_open(struct device *d, struct readers *out)
{
    *out = (struct readers){0};
    enum tacit_err err = open_best(d, out);
    if (err) readers_close(out);
    return err;
}

void readers_close(struct readers *r)
{
    span_reader_free(r->own);
    net_reader_free(r->net);
    *r = (struct readers){0};
}

/* ---- choosing ------------------------------------------------------------ */

enum tacit_err readers_fit(struct device *d, const struct network_row *m,
                           int *out)
{
    char path[DEVICE_PATH_MAX];
    struct model_files *files = NULL;
    *out = 0;
    if (strcmp(m->family, "bert") != 0) return TACIT_OK;
    TRY(networks_path(d, m, path));
    TRY(model_files_open(path, &files));
    *out = model_files_find(files, "head.weight") != NULL;
    model_files_close(files);
    return TACIT_OK;
}

/* It reads a passage, so that a damaged file is not chosen. */
static enum tacit_err try_out(struct device *d, const struct network_row *m)
{
    static const struct reader_pair pair = {"Who?", "He did.", 4, 7};
    char path[DEVICE_PATH_MAX];
    struct net_reader *r = NULL;
    struct span_found unused;
    TRY(networks_path(d, m, path));
    TRY(net_reader_open(path, &r));
    enum tacit_err err = net_reader_read(r, &pair, &unused);
    net_reader_free(r);
    return err;
}

enum tacit_err readers_use(struct device *d, const struct network_row *m)
{
    if (m) TRY(try_out(d, m));
    return networks_choose(d, &role, m, 0);
}

enum tacit_err readers_check_unused(struct device *d,
                                    const struct network_row *m)
{
    struct networks_choice c;
    TRY(networks_chosen(d, &role, &c));
    if (!c.name[0]) return TACIT_OK;
    return networks_check_unused(m, c.name, "reads the passages",
                                 READERS_BUILT_IN);
}
