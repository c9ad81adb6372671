#include "client/generator.h"

#include <stdio.h>
#include <string.h>

#include "client/adapters.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/crypto/secret.h"

const char *const generator_migrations[GENERATOR_N_MIGRATIONS] = {
    "CREATE TABLE generator("
    " one INTEGER PRIMARY KEY CHECK(one = 1), name TEXT NOT NULL,"
    " hash BLOB NOT NULL) STRICT;"};

static const struct networks_role role = {.table = "generator"};

int generator_fits(const char *family)
{
    return strcmp(family, "llama") == 0 || strcmp(family, "qwen2") == 0;
}

enum tacit_err generator_chosen(struct device *d, struct generator_choice *out)
{
    struct networks_choice c;
    TRY(networks_chosen(d, &role, &c));
    *out = (struct generator_choice){.hash = c.hash};
    snprintf(out->name, sizeof out->name, "%s",
             c.name[0] ? c.name : GENERATOR_NONE);
    return TACIT_OK;
}

/* ---- choosing ----------------------------------------------------------- */

static enum tacit_err open_decoder(struct device *d,
                                   const struct generator_choice *c,
                                   const struct generator_how *how,
                                   const struct adapter_found *learnt,
                                   struct decoder **out)
{
    char path[DEVICE_PATH_MAX];
    const struct network_row row = {.hash = c->hash};
    TRY(networks_path(d, &row, path));
    const struct params *w = learnt ? model_weights(learnt->model) : NULL;
    const struct decoder_model m = {.name = c->name,
                                    .path = path,
                                    .hash = c->hash,
                                    .context = how->context,
                                    .memory = how->memory,
                                    .sequences = how->sequences,
                                    .cache = how->packs_cache ? QUANT_Q8_0
                                                              : QUANT_F16,
                                    .base = learnt ? &learnt->spec.base : NULL,
                                    .learnt = w ? w->flat : NULL,
                                    .n_learnt = w ? w->n_flat : 0};
    return decoder_open(&m, out);
}

/* It goes on from a token, so that a damaged file is not chosen. */
static enum tacit_err try_out(struct device *d,
                              const struct generator_choice *c)
{
    static const struct generator_how how;
    struct decoder *decoder = NULL;
    struct decoder_report unused;
    const uint32_t token = 0;
    const struct decoder_job job = {.prompt = &token,
                                    .n_prompt = 1,
                                    .n_max = 1};
    TRY(open_decoder(d, c, &how, NULL, &decoder));
    enum tacit_err err = decoder_generate(decoder, &job, &unused);
    decoder_close(decoder);
    return err ? err_context(err, "model %s, tried out", c->name) : TACIT_OK;
}

enum tacit_err generator_use(struct device *d, const struct network_row *m)
{
    struct generator_choice c = {0};
    if (m && !generator_fits(m->family))
        return fail_as(E_MODEL_UNSUPPORTED,
                       "%s is of the family %s, which writes no text", m->name,
                       m->family);
    if (m) {
        snprintf(c.name, sizeof c.name, "%s", m->name);
        c.hash = m->hash;
        TRY(try_out(d, &c));
    }
    TRY(networks_choose(d, &role, m, 0));
    generator_forget(d);
    return TACIT_OK;
}

enum tacit_err generator_check_unused(struct device *d,
                                      const struct network_row *m)
{
    struct generator_choice c;
    TRY(generator_chosen(d, &c));
    return networks_check_unused(m, c.name, "writes the answers",
                                 GENERATOR_NONE);
}

/* ---- using -------------------------------------------------------------- */

static enum tacit_err open_prompts(struct device *d, struct generator *g)
{
    TRY(device_path(d, GENERATOR_PROMPTS, g->folder));
    if (d->vfs) {
        TRY(secret_alloc(SEAL_KEY, &g->key));
        sealed_derive(d->vfs, "tacit prompts v1", g->key);
    }
    g->prompts = (struct prompt_cache){.folder = g->folder,
                                       .key = g->key,
                                       .bytes_max = PROMPT_CACHE_BYTES};
    return TACIT_OK;
}

/* With what this device adopted of a plan that trains it. */
static enum tacit_err open_learnt(struct device *d,
                                  const struct generator_how *how,
                                  struct generator *g)
{
    struct adapter_found a = {0};
    int has = 0;
    TRY(adapters_of(d, PLAN_LM, &g->choice.hash, &a, &has));
    enum tacit_err err =
        open_decoder(d, &g->choice, how, has ? &a : NULL, &g->decoder);
    if (!err && has) {
        snprintf(g->plan, sizeof g->plan, "%s", a.plan->name);
        g->version = a.version;
    }
    adapters_release(&a);
    return err;
}

enum tacit_err generator_open(struct device *d, const struct generator_how *how,
                              struct generator *out)
{
    memset(out, 0, sizeof *out);
    TRY(generator_chosen(d, &out->choice));
    if (strcmp(out->choice.name, GENERATOR_NONE) == 0)
        return fail_as(
            E_NO_GENERATOR,
            "no network is chosen that could write an answer; `tacit "
            "model import FILE` brings one in, `tacit model use "
            "NAME` chooses it");
    enum tacit_err err = open_learnt(d, how, out);
    if (!err) err = cite_guard_new(decoder_vocab(out->decoder), &out->guard);
    if (!err && !how->keeps_no_prompts) err = open_prompts(d, out);
    if (err) generator_close(out);
    return err;
}

void generator_close(struct generator *g)
{
    decoder_close(g->decoder);
    cite_guard_free(g->guard);
    secret_free(g->key);
    memset(g, 0, sizeof *g);
}

void generator_forget(const struct device *d)
{
    char folder[DEVICE_PATH_MAX];
    if (device_path(d, GENERATOR_PROMPTS, folder))
        err_clear();
    else
        prompt_cache_clear(folder);
}
