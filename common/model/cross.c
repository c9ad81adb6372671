#include "common/model/cross.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/memory.h"
#include "common/base/pool.h"
#include "common/model/lanes.h"
#include "common/model/model_files.h"
#include "common/model/net.h"
#include "common/model/text_pair.h"

enum {
    LANE_BYTES_MAX = 256 << 20,
    CONTEXT_MAX = 4096, /* attention takes its square */
    NAME_MAX_BYTES = 128
};

struct cross {
    char name[NAME_MAX_BYTES];
    struct model_files *files;
    struct vocab *vocab;
    struct net *net;
    size_t context;
    struct pool *pool;
    struct lanes lanes;
};

/* ---- its life ----------------------------------------------------------- */

uint64_t cross_outputs(const struct gguf *g)
{
    const struct gguf_tensor *head = gguf_find(g, "cls.output.weight");
    return head ? head->dims[1] : 0;
}

enum tacit_err cross_fits(const struct gguf *g)
{
    uint64_t n = cross_outputs(g);
    if (!n)
        return fail_as(E_NOT_A_RERANKER,
                       "it has no head that would score a pair of texts");
    if (n == 1) return TACIT_OK;
    return fail_as(E_NOT_A_RERANKER,
                   "its head has %llu outputs, classes; a reranker has one, "
                   "its score",
                   (unsigned long long)n);
}

/* Rows that a pass over a batch holds beside the weights, as tuned.c counts a
 * block's, and scores of attention for one head of the longest sequence. */
static uint64_t lane_bytes(const struct cross *c)
{
    const struct net_shape *s = net_shape(c->net);
    uint64_t tokens =
        c->context > CROSS_BATCH_TOKENS ? c->context : CROSS_BATCH_TOKENS;
    uint64_t row = 14 * s->width + 4 * s->feed;
    return sizeof(float) * (tokens * row + c->context * c->context);
}

static enum tacit_err check_memory(struct cross *c, const struct cross_model *m)
{
    struct digest unused;
    uint64_t weights, free = m->memory ? m->memory : memory_free();
    model_files_hash(c->files, &unused, &weights);
    uint64_t need = weights + pool_threads(c->pool) * lane_bytes(c);
    if (need <= free) return TACIT_OK;
    return fail_as(E_MODEL_MEMORY,
                   "the reranker %s needs %.0f MiB (weights %.0f, work on %u "
                   "threads %.0f), and %.0f MiB may be taken",
                   c->name, (double)need / (1 << 20),
                   (double)weights / (1 << 20), pool_threads(c->pool),
                   (double)(need - weights) / (1 << 20),
                   (double)free / (1 << 20));
}

static enum tacit_err take_context(struct cross *c)
{
    static const char key[] = "tacit.tokens_max";
    const struct gguf *g = model_files_metadata(c->files);
    const struct net_shape *s = net_shape(c->net);
    int64_t most = CONTEXT_MAX;
    c->context =
        s->context && s->context < CONTEXT_MAX ? s->context : CONTEXT_MAX;
    if (gguf_has(g, key)) TRY(gguf_int(g, key, 1, INT32_MAX, &most));
    if ((size_t)most < c->context) c->context = (size_t)most;
    if (c->context < TEXT_PAIR_MIN)
        return fail(TACIT_SHAPE, "it reads %zu tokens; a pair has %d or more",
                    c->context, TEXT_PAIR_MIN);
    if (vocab_size(c->vocab) > s->vocab)
        return fail(TACIT_SHAPE, "its vocabulary has %zu tokens, its table %zu",
                    vocab_size(c->vocab), s->vocab);
    return TACIT_OK;
}

static enum tacit_err open_files(struct cross *c, const struct cross_model *m)
{
    TRY(model_files_open(m->path, &c->files));
    TRY(net_knows(model_files_family(c->files)));
    TRY(model_files_vocab(c->files, &c->vocab));
    TRY(net_open(c->files, NULL, &c->net));
    if (net_shape(c->net)->outputs != 1)
        return fail_as(E_NOT_A_RERANKER,
                       "its head has %zu outputs; a reranker "
                       "has one, its score",
                       net_shape(c->net)->outputs);
    TRY(take_context(c));
    TRY(pool_new(&c->pool, m->threads));
    TRY(check_memory(c, m));
    return lanes_add(&c->lanes, pool_threads(c->pool), LANE_BYTES_MAX);
}

enum tacit_err cross_open(const struct cross_model *m, struct cross **out)
{
    struct cross *c = calloc(1, sizeof *c);
    if (!c) return fail(TACIT_NOMEM, "no memory for a reranker");
    snprintf(c->name, sizeof c->name, "%s", m->name);
    enum tacit_err err = open_files(c, m);
    if (err) {
        cross_close(c);
        return err_context(err, "the reranker %s", m->name);
    }
    *out = c;
    return TACIT_OK;
}

void cross_close(struct cross *c)
{
    if (!c) return;
    lanes_release(&c->lanes);
    pool_free(c->pool);
    net_close(c->net);
    vocab_free(c->vocab);
    model_files_close(c->files);
    free(c);
}

/* ---- sequences ---------------------------------------------------------- */

struct work {
    struct cross *c;
    struct vocab_ids ids;  /* all sequences, one behind another */
    struct vocab_ids pair; /* the one at hand */
    size_t start[CROSS_PASSAGES_MAX + 1], second[CROSS_PASSAGES_MAX];
    size_t n;
    size_t first[CROSS_PASSAGES_MAX + 1], n_batches; /* of sequences */
    float *out;                                      /* [n] */
};

static enum tacit_err tokenise(struct work *w, struct text question,
                               const struct text *passages, size_t *n_cut)
{
    for (size_t i = 0; i < w->n; i++) {
        struct text_pair_parts parts;
        w->pair.n = 0;
        TRY(text_pair_encode(w->c->vocab, question, passages[i], w->c->context,
                             &w->pair, &parts));
        *n_cut += parts.n_cut > 0;
        w->second[i] = parts.second;
        for (size_t k = 0; k < w->pair.n; k++)
            TRY(vocab_ids_put(&w->ids, w->pair.id[k]));
        w->start[i + 1] = w->ids.n;
        if (w->start[i + 1] == w->start[i])
            return fail(TACIT_FORMAT, "%s has no tokens for a text",
                        w->c->name);
    }
    return TACIT_OK;
}

/* Whole sequences up to `most` tokens together; a share for every lane. */
static void cut(struct work *w)
{
    size_t share = w->ids.n / w->c->lanes.n + 1;
    size_t most = share < CROSS_BATCH_TOKENS ? share : CROSS_BATCH_TOKENS;
    for (size_t i = 0; i < w->n;) {
        size_t from = w->start[i++];
        while (i < w->n && w->start[i + 1] - from <= most) i++;
        w->first[++w->n_batches] = i;
    }
}

/* ---- batches ------------------------------------------------------------ */

static enum tacit_err run_batch(void *ctx, size_t at, struct tape *t)
{
    const struct work *w = ctx;
    const struct net_run run = {.net = w->c->net, .tape = t};
    size_t first = w->first[at], n = w->first[at + 1] - first;
    size_t from = w->start[first], n_tokens = w->start[first + n] - from;
    tape_reset(t);
    uint32_t *start = tape_raw(t, n + 1, sizeof *start);
    uint32_t *token = tape_raw(t, n_tokens, sizeof *token);
    uint32_t *type = tape_raw(t, n_tokens, sizeof *type);
    if (!start || !token || !type) return t->err;
    for (size_t i = 0; i < n_tokens; i++)
        token[i] = (uint32_t)w->ids.id[from + i];
    start[0] = 0;
    for (size_t i = 0; i < n; i++) {
        start[i + 1] = (uint32_t)(w->start[first + i + 1] - from);
        for (uint32_t k = start[i]; k < start[i + 1]; k++)
            type[k] = k - start[i] >= w->second[first + i];
    }
    const struct net_batch b = {.token = token,
                                .type = type,
                                .n = n_tokens,
                                .segments = {start, n}};
    const struct var *z = net_classes(&run, net_hidden(&run, &b), &b.segments);
    if (t->err) return t->err;
    memcpy(w->out + first, z->v, n * sizeof *w->out);
    return TACIT_OK;
}

static enum tacit_err run_all(struct work *w)
{
    struct cross *c = w->c;
    enum tacit_err err =
        lanes_run(&c->lanes, c->pool, w->n_batches, run_batch, w);
    if (err)
        return fail(err,
                    "the reranker %s could not read a batch of passages "
                    "(%s); `tacit model use none --as rerank` does without",
                    c->name, err_text(err));
    for (size_t i = 0; i < w->n; i++)
        if (!isfinite(w->out[i]))
            return fail(TACIT_FORMAT,
                        "what the reranker %s makes of a passage is no number: "
                        "the file is damaged",
                        c->name);
    return TACIT_OK;
}

enum tacit_err cross_scores(struct cross *c, struct text question,
                            const struct text *passages, size_t n, float *out,
                            size_t *n_cut)
{
    struct work w = {.c = c, .n = n, .out = out};
    *n_cut = 0;
    if (n > CROSS_PASSAGES_MAX)
        return fail(TACIT_LIMIT, "%zu passages at once; at most %d", n,
                    CROSS_PASSAGES_MAX);
    if (n == 0) return TACIT_OK;
    enum tacit_err err = tokenise(&w, question, passages, n_cut);
    if (!err) {
        cut(&w);
        err = run_all(&w);
    }
    vocab_ids_release(&w.ids);
    vocab_ids_release(&w.pair);
    return err;
}
