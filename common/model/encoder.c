#include "common/model/encoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/rng.h"
#include "common/model/encoder_net.h"
#include "common/tensor/kernels.h"
#include "common/tensor/ops.h"

enum { TAPE_BYTES_MAX = 64 << 20, BATCH_MAX = 256 };

/* "tacit": any constant would do; another one is another encoder. */
#define BUILT_IN_SEED 0x7461636974u

struct encoder {
    struct params p;
    const struct param *table, *projection;
    struct encoder_net *net; /* owned; NULL: the built-in one */
};

/* Entries +-1/sqrt(dim) from the bits of a seeded stream. */
static void draw_table(float *table, size_t n)
{
    struct rng rng;
    const float one = 1 / sqrtf(ENCODER_DIM);
    rng_init(&rng, BUILT_IN_SEED, ENCODER_DIM, TOKENIZER_BUCKETS);
    for (size_t i = 0; i < n; i += 64) {
        uint64_t bits = rng_u64(&rng);
        for (size_t j = 0; j < 64; j++)
            table[i + j] = bits >> j & 1 ? one : -one;
    }
}

static enum tacit_err build(struct encoder *e)
{
    const size_t table[] = {TOKENIZER_BUCKETS, ENCODER_DIM};
    const size_t projection[] = {ENCODER_DIM, ENCODER_DIM};
    params_init(&e->p);
    TRY(params_add(&e->p, "table", table, 2));
    TRY(params_add(&e->p, "projection", projection, 2));
    TRY(params_alloc(&e->p));
    e->table = params_find(&e->p, "table");
    e->projection = params_find(&e->p, "projection");
    draw_table(params_data(&e->p, e->table), e->table->len);
    float *eye = params_data(&e->p, e->projection);
    for (size_t i = 0; i < ENCODER_DIM; i++) eye[i * ENCODER_DIM + i] = 1;
    return TACIT_OK;
}

enum tacit_err encoder_new(struct encoder **out)
{
    struct encoder *e = calloc(1, sizeof *e);
    if (!e) return fail(TACIT_NOMEM, "no memory for the text encoder");
    enum tacit_err err = build(e);
    if (err) {
        encoder_free(e);
        return err;
    }
    *out = e;
    return TACIT_OK;
}

enum tacit_err encoder_open(const struct encoder_model *m, struct encoder **out)
{
    struct encoder *e = calloc(1, sizeof *e);
    if (!e) return fail(TACIT_NOMEM, "no memory for the text encoder");
    params_init(&e->p);
    enum tacit_err err = encoder_net_new(m, &e->net);
    if (err) {
        encoder_free(e);
        return err;
    }
    *out = e;
    return TACIT_OK;
}

enum tacit_err encoder_ready(const struct encoder *e)
{
    return e->net ? encoder_net_ready(e->net) : TACIT_OK;
}

int encoder_is_built_in(const struct encoder *e)
{
    return e->net == NULL;
}

size_t encoder_dim(const struct encoder *e)
{
    return e->net ? encoder_net_dim(e->net) : ENCODER_DIM;
}

size_t encoder_context(const struct encoder *e)
{
    return e->net ? encoder_net_context(e->net) : SIZE_MAX;
}

size_t encoder_count(const struct encoder *e, const char *text, size_t n)
{
    return e->net ? encoder_net_count(e->net, text, n)
                  : tokenizer_count(text, n);
}

void encoder_free(struct encoder *e)
{
    if (!e) return;
    encoder_net_free(e->net);
    params_release(&e->p);
    free(e);
}

struct params *encoder_params(struct encoder *e)
{
    return &e->p;
}

void encoder_version(const struct encoder *e, char out[ENCODER_VERSION_MAX])
{
    struct digest d;
    char hex[DIGEST_HEX];
    if (e->net) {
        encoder_net_version(e->net, out);
        return;
    }
    digest_of(&d, e->p.flat, e->p.n_flat * sizeof *e->p.flat);
    hex_encode(hex, d.b, sizeof d.b);
    snprintf(out, ENCODER_VERSION_MAX, "static-%d-%.10s", TOKENIZER_VERSION,
             hex);
}

static enum tacit_err embed(const struct encoder *e, struct arena *scratch,
                            const char *text, size_t n, float *out)
{
    struct features f = {0};
    float *bag = NULL;
    TRY(tokenizer_features(scratch, text, n, &f));
    TRY(arena_alloc(scratch, ENCODER_DIM, sizeof *bag, &bag));
    const float *table = e->p.flat + e->table->offset;
    for (size_t i = 0; i < f.n; i++)
        kernel_axpy(bag, f.weight[i], table + (size_t)f.id[i] * ENCODER_DIM,
                    ENCODER_DIM);
    memset(out, 0, ENCODER_DIM * sizeof *out);
    const float *projection = e->p.flat + e->projection->offset;
    for (size_t i = 0; i < ENCODER_DIM; i++)
        kernel_axpy(out, bag[i], projection + i * ENCODER_DIM, ENCODER_DIM);
    kernel_normalise(out, ENCODER_DIM);
    return TACIT_OK;
}

enum tacit_err encoder_embed(const struct encoder *e, struct arena *scratch,
                             const char *text, size_t n, float *out)
{
    const struct text one = {text, n};
    return e->net ? encoder_net_embed(e->net, ENCODER_QUESTIONS, &one, 1, out)
                  : embed(e, scratch, text, n, out);
}

enum tacit_err encoder_embed_all(const struct encoder *e, struct arena *scratch,
                                 const struct text *texts, size_t n, float *out)
{
    if (e->net)
        return encoder_net_embed(e->net, ENCODER_PASSAGES, texts, n, out);
    for (size_t i = 0; i < n; i++)
        TRY(embed(e, scratch, texts[i].s, texts[i].n, out + i * ENCODER_DIM));
    return TACIT_OK;
}

/* Features of n texts one behind another. */
static enum tacit_err fill_bags(struct arena *a, const struct text *texts,
                                size_t n, struct op_bags *out)
{
    struct features *f = NULL;
    uint32_t *start = NULL, *id = NULL;
    float *weight = NULL;
    size_t total = 0;
    TRY(arena_alloc(a, n, sizeof *f, &f));
    TRY(arena_alloc(a, n + 1, sizeof *start, &start));
    for (size_t i = 0; i < n; i++) {
        TRY(tokenizer_features(a, texts[i].s, texts[i].n, &f[i]));
        total += f[i].n;
        start[i + 1] = (uint32_t)total;
    }
    TRY(arena_alloc(a, total + 1, sizeof *id, &id));
    TRY(arena_alloc(a, total + 1, sizeof *weight, &weight));
    for (size_t i = 0; i < n; i++) {
        memcpy(id + start[i], f[i].id, f[i].n * sizeof *id);
        memcpy(weight + start[i], f[i].weight, f[i].n * sizeof *weight);
    }
    *out = (struct op_bags){id, weight, start, n};
    return TACIT_OK;
}

struct pass {
    struct tape tape;
    struct var *table, *projection;
};

static struct var *embed_bags(struct pass *p, const struct op_bags *bags)
{
    struct var *h = op_embedding_bag(&p->tape, p->table, bags);
    return op_normalise(&p->tape, op_matmul(&p->tape, h, p->projection));
}

enum tacit_err encoder_gradient(struct encoder *e, const struct text *question,
                                const struct text *passage, size_t n,
                                double temperature, float *grad,
                                float *out_loss)
{
    if (n == 0 || n > BATCH_MAX)
        return fail(TACIT_LIMIT, "a batch of %zu pairs; at most %d", n,
                    BATCH_MAX);
    struct pass *p = calloc(1, sizeof *p);
    if (!p) return fail(TACIT_NOMEM, "no memory for a training step");
    struct op_bags q = {0}, d = {0};
    tape_init(&p->tape, TAPE_BYTES_MAX);
    memset(grad, 0, e->p.n_flat * sizeof *grad);
    enum tacit_err err = fill_bags(&p->tape.arena, question, n, &q);
    if (!err) err = fill_bags(&p->tape.arena, passage, n, &d);
    if (!err) {
        p->table = tape_parameter(&p->tape, params_data(&e->p, e->table),
                                  grad + e->table->offset, TOKENIZER_BUCKETS,
                                  ENCODER_DIM);
        p->projection =
            tape_parameter(&p->tape, params_data(&e->p, e->projection),
                           grad + e->projection->offset, ENCODER_DIM,
                           ENCODER_DIM);
        struct var *a = embed_bags(p, &q), *b = embed_bags(p, &d);
        struct var *loss = op_contrastive(&p->tape, a, b, (float)temperature);
        err = tape_backward(&p->tape, loss);
        if (!err) *out_loss = loss->v[0];
    }
    tape_release(&p->tape);
    free(p);
    return err;
}

/* ---- adapters ---- */

enum tacit_err encoder_tokens(const struct encoder *e, const char *text,
                              size_t n, struct vocab_ids *out)
{
    if (e->net) return encoder_net_tokens(e->net, text, n, out);
    return fail(TACIT_UNSUPPORTED, "the built-in encoder has no tokens");
}

enum tacit_err encoder_adapt(struct encoder *e, const struct model_base *base,
                             const float *w, size_t n)
{
    if (e->net) return encoder_net_adapt(e->net, base, w, n);
    return fail(TACIT_UNSUPPORTED, "an adapter for the built-in encoder");
}

int encoder_is_adapted(const struct encoder *e)
{
    return e->net && encoder_net_is_adapted(e->net);
}
