#include "common/model/encoder_net.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/pool.h"
#include "common/model/lanes.h"
#include "common/model/net.h"
#include "common/model/tokenizer.h"
#include "common/model/tuned_base.h"
#include "common/model/word_table.h"

#define WAY_OUT                                                                \
 "`tacit model use built-in` does without it; then it can be removed and "     \
 "imported again"

enum {
    VERSION = 1,       /* of how texts become vectors by a network */
    TABLE_VERSION = 2, /* and by a table, passages included (embedder.h) */
    LANE_BYTES_MAX = 512 << 20,
    TABLE_BYTES_MAX = 64 << 20,
    CONTEXT_MAX = 8192,  /* attention takes its square */
    COUNTED_AS_BYTES = 4 /* of a token, where counting fails */
};

struct encoder_net {
    char *name, *path, *prefix[2]; /* owned; by enum encoder_side */
    char version[ENCODER_VERSION_MAX];
    enum encoder_kind kind;
    size_t dim;
    pthread_mutex_t lock; /* of what follows */
    struct model_files *files;
    struct vocab *vocab;
    struct net *net;   /* this or the table; both NULL: not opened yet */
    struct net *asked; /* with an adapter, for questions; NULL: there is none */
    struct word_table *table;
    size_t context;
    struct pool *pool; /* NULL: only questions so far */
    struct lanes lanes;
};

/* ---- its life ----------------------------------------------------------- */

static void name_version(const struct encoder_model *m, char *out)
{
    struct digest_state s;
    struct digest d;
    char hex[DIGEST_HEX];
    digest_begin(&s);
    digest_add(&s, m->hash.b, sizeof m->hash.b);
    digest_add(&s, m->question, strlen(m->question) + 1);
    digest_add(&s, m->passage, strlen(m->passage) + 1);
    digest_end(&s, &d);
    hex_encode(hex, d.b, sizeof d.b);
    snprintf(out, ENCODER_VERSION_MAX, "net-%d-%.16s",
             m->kind == ENCODER_TABLE ? TABLE_VERSION : VERSION, hex);
}

enum tacit_err encoder_net_new(const struct encoder_model *m,
                               struct encoder_net **out)
{
    if (m->dim == 0 || m->dim > ENCODER_DIM_MAX)
        return fail(TACIT_LIMIT,
                    "%s makes vectors of %zu numbers; 1 to %d can be searched",
                    m->name, m->dim, ENCODER_DIM_MAX);
    struct encoder_net *e = calloc(1, sizeof *e);
    if (!e) return fail(TACIT_NOMEM, "no memory for the text encoder");
    pthread_mutex_init(&e->lock, NULL);
    e->kind = m->kind;
    e->dim = m->dim;
    e->name = strdup(m->name);
    e->path = strdup(m->path);
    e->prefix[ENCODER_QUESTIONS] = strdup(m->question);
    e->prefix[ENCODER_PASSAGES] = strdup(m->passage);
    name_version(m, e->version);
    if (!e->name || !e->path || !e->prefix[0] || !e->prefix[1]) {
        encoder_net_free(e);
        return fail(TACIT_NOMEM, "no memory for the text encoder");
    }
    *out = e;
    return TACIT_OK;
}

static void close_files(struct encoder_net *e)
{
    net_close(e->asked);
    net_close(e->net);
    e->asked = NULL;
    word_table_free(e->table);
    vocab_free(e->vocab);
    model_files_close(e->files);
    e->net = NULL;
    e->table = NULL;
    e->vocab = NULL;
    e->files = NULL;
}

void encoder_net_free(struct encoder_net *e)
{
    if (!e) return;
    lanes_release(&e->lanes);
    pool_free(e->pool);
    close_files(e);
    free(e->name);
    free(e->path);
    free(e->prefix[0]);
    free(e->prefix[1]);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

/* Positions that no text of its training reached are not read. */
static enum tacit_err cut_as_trained(struct encoder_net *e)
{
    static const char key[] = "tacit.tokens_max";
    const struct gguf *g = model_files_metadata(e->files);
    int64_t n = 0;
    if (!gguf_has(g, key)) return TACIT_OK;
    TRY(gguf_int(g, key, 1, INT32_MAX, &n));
    if ((size_t)n < e->context) e->context = (size_t)n;
    return TACIT_OK;
}

static enum tacit_err check_net(struct encoder_net *e)
{
    const struct net_shape *s = net_shape(e->net);
    if (net_is_decoder(e->net))
        return fail(TACIT_UNSUPPORTED,
                    "it predicts text; search wants an encoder (family bert)");
    if (s->width != e->dim)
        return fail(TACIT_SHAPE, "its vectors have %zu numbers, not %zu",
                    s->width, e->dim);
    if (vocab_size(e->vocab) > s->vocab)
        return fail(TACIT_SHAPE, "its vocabulary has %zu tokens, its table %zu",
                    vocab_size(e->vocab), s->vocab);
    e->context =
        s->context && s->context < CONTEXT_MAX ? s->context : CONTEXT_MAX;
    TRY(cut_as_trained(e));
    if (e->context < 3)
        return fail(TACIT_SHAPE, "it reads %zu tokens", e->context);
    return TACIT_OK;
}

static enum tacit_err open_table(struct encoder_net *e)
{
    TRY(word_table_open(model_files_metadata(e->files), &e->table));
    if (word_table_dim(e->table) != e->dim)
        return fail(TACIT_SHAPE, "its vectors have %zu numbers, not %zu",
                    word_table_dim(e->table), e->dim);
    e->context = CONTEXT_MAX;
    return TACIT_OK;
}

static enum tacit_err open_files(struct encoder_net *e)
{
    TRY(model_files_open(e->path, &e->files));
    if (strcmp(model_files_family(e->files), WORD_TABLE_FAMILY) == 0)
        return open_table(e);
    TRY(model_files_vocab(e->files, &e->vocab));
    TRY(net_open(e->files, NULL, &e->net));
    return check_net(e);
}

static enum tacit_err ready(struct encoder_net *e)
{
    if (e->net || e->table) return TACIT_OK;
    enum tacit_err err = open_files(e);
    if (!err) return lanes_add(&e->lanes, 1, LANE_BYTES_MAX);
    close_files(e);
    return err_context(err,
                       "the search encoder %s cannot be used (" WAY_OUT ")",
                       e->name);
}

enum tacit_err encoder_net_ready(struct encoder_net *e)
{
    pthread_mutex_lock(&e->lock);
    enum tacit_err err = ready(e);
    pthread_mutex_unlock(&e->lock);
    return err;
}

enum encoder_kind encoder_net_kind(const struct encoder_net *e)
{
    return e->kind;
}

size_t encoder_net_dim(const struct encoder_net *e)
{
    return e->dim;
}

size_t encoder_net_context(const struct encoder_net *e)
{
    return e->context;
}

void encoder_net_version(const struct encoder_net *e,
                         char out[ENCODER_VERSION_MAX])
{
    memcpy(out, e->version, ENCODER_VERSION_MAX);
}

/* ---- tokens ------------------------------------------------------------- */

size_t encoder_net_count(struct encoder_net *e, const char *text, size_t n)
{
    struct vocab_ids ids = {0};
    size_t count = n / COUNTED_AS_BYTES;
    if (e->table) return tokenizer_count(text, n);
    if (e->vocab && vocab_encode(e->vocab, text, n, VOCAB_PLAIN, &ids))
        err_clear();
    else if (e->vocab)
        count = ids.n;
    vocab_ids_release(&ids);
    return count;
}

/* All texts one behind another. */
struct packed {
    uint32_t *token; /* [n], owned */
    size_t n, cap;
    uint32_t *start; /* [texts + 1], owned */
    size_t *text_of; /* [texts], owned: which text a sequence is */
    size_t n_texts;  /* that have words */
};

static int is_blank(const struct text *t)
{
    for (size_t i = 0; i < t->n; i++)
        if ((unsigned char)t->s[i] > ' ') return 0;
    return 1;
}

static enum tacit_err put_ids(struct encoder_net *e, struct packed *p,
                              struct vocab_ids *ids)
{
    if (ids->n > e->context) { /* the last mark stays */
        ids->id[e->context - 1] = ids->id[ids->n - 1];
        ids->n = e->context;
    }
    if (p->n + ids->n > p->cap) {
        size_t cap = 2 * p->cap + ids->n + 256;
        uint32_t *more = realloc(p->token, cap * sizeof *more);
        if (!more) return fail(TACIT_NOMEM, "no memory for %zu tokens", cap);
        p->token = more;
        p->cap = cap;
    }
    for (size_t i = 0; i < ids->n; i++) p->token[p->n++] = (uint32_t)ids->id[i];
    return TACIT_OK;
}

static enum tacit_err tokenise(struct encoder_net *e, enum encoder_side side,
                               const struct text *texts, size_t n,
                               struct packed *p)
{
    struct vocab_ids ids = {0};
    struct buf b;
    enum tacit_err err = TACIT_OK;
    buf_init(&b, 0);
    p->start = calloc(n + 1, sizeof *p->start);
    p->text_of = calloc(n + 1, sizeof *p->text_of);
    if (!p->start || !p->text_of)
        err = fail(TACIT_NOMEM, "no memory for %zu texts", n);
    for (size_t i = 0; !err && i < n; i++) {
        if (is_blank(&texts[i])) continue;
        b.len = ids.n = 0;
        buf_put(&b, e->prefix[side], strlen(e->prefix[side]));
        buf_put(&b, texts[i].s, texts[i].n);
        err = buf_end(&b);
        if (!err)
            err = vocab_encode(e->vocab, (const char *)b.data, b.len,
                               VOCAB_ADD_SPECIAL, &ids);
        if (!err) err = put_ids(e, p, &ids);
        if (err || ids.n == 0) continue;
        p->text_of[p->n_texts++] = i;
        p->start[p->n_texts] = (uint32_t)p->n;
    }
    buf_release(&b);
    vocab_ids_release(&ids);
    return err;
}

static void packed_release(struct packed *p)
{
    free(p->token);
    free(p->start);
    free(p->text_of);
}

/* ---- batches ------------------------------------------------------------ */

struct work {
    struct encoder_net *e;
    const struct packed *p;
    const struct net *net;
    size_t *first; /* [n_batches + 1], owned: of its sequences */
    size_t n_batches;
    float *out; /* [texts, dim] */
};

/* Whole sequences up to `most` tokens together. */
static enum tacit_err cut(struct work *w, size_t most)
{
    const struct packed *p = w->p;
    w->first = calloc(p->n_texts + 1, sizeof *w->first);
    if (!w->first) return fail(TACIT_NOMEM, "no memory for batches");
    for (size_t i = 0; i < p->n_texts;) {
        size_t from = p->start[i++];
        while (i < p->n_texts && p->start[i + 1] - from <= most) i++;
        w->first[++w->n_batches] = i;
    }
    return TACIT_OK;
}

static int is_number(const float *v, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += v[i] * 0;
    return isfinite(sum);
}

static enum tacit_err take(struct work *w, const struct var *v, size_t first,
                           size_t n)
{
    size_t dim = w->e->dim;
    for (size_t i = 0; i < n; i++) {
        const float *from = v->v + i * dim;
        if (!is_number(from, dim))
            return fail(TACIT_FORMAT, "what it makes of a text are no numbers: "
                                      "the file is damaged");
        memcpy(w->out + w->p->text_of[first + i] * dim, from,
               dim * sizeof *from);
    }
    return TACIT_OK;
}

static enum tacit_err run_batch(void *ctx, size_t at, struct tape *t)
{
    struct work *w = ctx;
    const struct packed *p = w->p;
    const struct net_run run = {.net = w->net, .tape = t};
    size_t first = w->first[at], n = w->first[at + 1] - first;
    tape_reset(t);
    uint32_t *start = tape_raw(t, n + 1, sizeof *start);
    if (!start) return t->err;
    for (size_t i = 0; i <= n; i++)
        start[i] = p->start[first + i] - p->start[first];
    const struct net_batch b = {.token = p->token + p->start[first],
                                .n = start[n],
                                .segments = {start, n}};
    struct var *v = net_embedding(&run, net_hidden(&run, &b), &b.segments);
    return t->err ? t->err : take(w, v, first, n);
}

static enum tacit_err run_all(struct work *w)
{
    struct encoder_net *e = w->e;
    enum tacit_err err =
        lanes_run(&e->lanes, e->pool, w->n_batches, run_batch, w);
    if (!err) return TACIT_OK;
    return fail(err,
                "the search encoder %s could not read a batch of texts "
                "(%s); " WAY_OUT,
                e->name, err_text(err));
}

/* A share for every core, where there is enough for all. */
static size_t batch_tokens(const struct encoder_net *e, size_t n_tokens)
{
    size_t share = n_tokens / (e->lanes.n ? e->lanes.n : 1) + 1;
    return share < ENCODER_BATCH_TOKENS ? share : ENCODER_BATCH_TOKENS;
}

static enum tacit_err look_up(struct encoder_net *e, enum encoder_side side,
                              const struct text *texts, size_t n, float *out)
{
    struct arena scratch;
    struct buf b;
    enum tacit_err err = TACIT_OK;
    arena_init(&scratch, TABLE_BYTES_MAX);
    buf_init(&b, 0);
    for (size_t i = 0; !err && i < n; i++) {
        b.len = 0;
        arena_reset(&scratch);
        buf_put(&b, e->prefix[side], strlen(e->prefix[side]));
        buf_put(&b, texts[i].s, texts[i].n);
        err = buf_end(&b);
        if (!err)
            err = word_table_embed(e->table, &scratch, (const char *)b.data,
                                   b.len, out + i * e->dim);
    }
    buf_release(&b);
    arena_release(&scratch);
    return err;
}

static enum tacit_err embed(struct encoder_net *e, enum encoder_side side,
                            const struct text *texts, size_t n, float *out)
{
    struct packed p = {0};
    struct work w = {.e = e, .p = &p, .out = out};
    enum tacit_err err = ready(e);
    if (!err && e->table) return look_up(e, side, texts, n, out);
    w.net = side == ENCODER_QUESTIONS && e->asked ? e->asked : e->net;
    if (!err && n > 1 && !e->pool) err = pool_new(&e->pool, 0);
    if (!err && e->pool)
        err = lanes_add(&e->lanes, pool_threads(e->pool), LANE_BYTES_MAX);
    if (!err) err = tokenise(e, side, texts, n, &p);
    if (!err) err = cut(&w, batch_tokens(e, p.n));
    if (!err) err = run_all(&w);
    free(w.first);
    packed_release(&p);
    return err;
}

enum tacit_err encoder_net_embed(struct encoder_net *e, enum encoder_side side,
                                 const struct text *texts, size_t n, float *out)
{
    if (n > ENCODER_TEXTS_MAX)
        return fail(TACIT_LIMIT, "%zu texts at once; at most %d", n,
                    ENCODER_TEXTS_MAX);
    memset(out, 0, n * e->dim * sizeof *out);
    pthread_mutex_lock(&e->lock);
    enum tacit_err err = embed(e, side, texts, n, out);
    pthread_mutex_unlock(&e->lock);
    return err;
}

/* ---- adapters ----------------------------------------------------------- */

enum tacit_err encoder_net_tokens(struct encoder_net *e, const char *text,
                                  size_t n, struct vocab_ids *out)
{
    const struct text one = {text, n};
    struct packed p = {0};
    pthread_mutex_lock(&e->lock);
    enum tacit_err err = ready(e);
    if (!err) err = tokenise(e, ENCODER_QUESTIONS, &one, 1, &p);
    pthread_mutex_unlock(&e->lock);
    for (size_t i = 0; !err && i < p.n; i++)
        err = vocab_ids_put(out, (int32_t)p.token[i]);
    packed_release(&p);
    return err;
}

/* Whether an adapter is for this network is known by the hash of its file. */
static enum tacit_err adapt(struct encoder_net *e,
                            const struct model_base *base, const float *w,
                            size_t n)
{
    const struct net_options o = tuned_options(base);
    struct net *asked = NULL;
    TRY(ready(e));
    TRY(net_open(e->files, &o, &asked));
    struct params *p = net_params(asked);
    if (p->n_flat != n) {
        size_t has = p->n_flat;
        net_close(asked);
        return fail(TACIT_SHAPE, "an adapter of %zu numbers; %s has %zu", n,
                    e->name, has);
    }
    memcpy(p->flat, w, n * sizeof *w);
    net_close(e->asked);
    e->asked = asked;
    return TACIT_OK;
}

enum tacit_err encoder_net_adapt(struct encoder_net *e,
                                 const struct model_base *base, const float *w,
                                 size_t n)
{
    pthread_mutex_lock(&e->lock);
    enum tacit_err err = adapt(e, base, w, n);
    pthread_mutex_unlock(&e->lock);
    return err;
}
