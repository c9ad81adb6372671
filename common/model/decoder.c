#include "common/model/decoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/memory.h"
#include "common/base/pool.h"
#include "common/base/tick.h"
#include "common/model/draft.h"
#include "common/model/net.h"
#include "common/model/tuned.h"

enum {
    ROOM_STEP = 256,   /* tokens that a cache grows by */
    ROW_COPIES = 12,   /* of a row of width, feed: in one block */
    CHANCE_BYTES = 32, /* a token, in the sampler and the vocabulary */
    PROCESS_BYTES = 16 << 20
};

struct decoder {
    char name[96];
    struct digest hash;
    struct model_files *files;
    struct vocab *vocab;
    struct net *net;
    struct pool *pool;
    struct tape tape;
    enum chat_family chat;
    enum quant_type cache_type;
    size_t context, n_vocab; /* n_vocab: rows of the logits */
    struct decoder_need need;
    uint8_t *silent; /* [n_vocab] never drawn */
    struct kv *kv;   /* NULL: nothing was read yet */
    /* What is in kv, and where its pieces ended. */
    uint32_t *seen, *edge; /* [context], [context / DECODER_PIECE + cuts] */
    size_t n_seen, n_edges;
};

/* ---- its life ----------------------------------------------------------- */

static struct kv_shape cache_shape(const struct decoder *d, size_t n_max)
{
    const struct net_shape *s = net_shape(d->net);
    return (struct kv_shape){s->layers, s->kv_heads, s->head_width, n_max,
                             d->cache_type};
}

static void count_need(struct decoder *d)
{
    const struct net_shape *s = net_shape(d->net);
    const struct kv_shape cache = cache_shape(d, d->context + NET_STEPS_MAX);
    uint64_t row = (uint64_t)ROW_COPIES * s->width + 3 * (uint64_t)s->feed;
    struct decoder_need *n = &d->need;
    n->cache = kv_bytes(&cache);
    n->work =
        PROCESS_BYTES + DECODER_PIECE * row * sizeof(float) +
        (uint64_t)s->vocab * (CHANCE_BYTES + NET_STEPS_MAX * 2 * sizeof(float));
    n->all = n->weights + n->cache + n->work;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

static enum tacit_err check_need(const struct decoder *d)
{
    const struct decoder_need *n = &d->need;
    if (!n->cache)
        return fail(TACIT_UNSUPPORTED,
                    "%s: heads of %zu numbers do not fit this type of cache",
                    d->name, net_shape(d->net)->head_width);
    if (n->all <= n->free) return TACIT_OK;
    return fail_as(E_MODEL_MEMORY,
                   "%s needs %.0f MiB (weights %.0f, keys and values of %zu "
                   "tokens %.0f, work %.0f), and %.0f MiB are free",
                   d->name, mib(n->all), mib(n->weights), d->context,
                   mib(n->cache), mib(n->work), mib(n->free));
}

static enum tacit_err take_context(struct decoder *d, size_t wanted)
{
    size_t own = net_shape(d->net)->context;
    if (!own || own > DECODER_CONTEXT_MAX) own = DECODER_CONTEXT_MAX;
    if (wanted > own)
        return fail(TACIT_LIMIT, "a context of %zu tokens; %s has %zu", wanted,
                    d->name, own);
    d->context = wanted                  ? wanted
                 : own < DECODER_CONTEXT ? own
                                         : DECODER_CONTEXT;
    return TACIT_OK;
}

/* Marks say nothing: those that end no turn are never drawn, nor is a row of
 * the output that no token has. */
static enum tacit_err find_silent(struct decoder *d)
{
    size_t n = vocab_size(d->vocab);
    d->n_vocab = net_shape(d->net)->vocab;
    if (n > d->n_vocab)
        return fail(TACIT_SHAPE, "its vocabulary has %zu tokens, its table %zu",
                    n, d->n_vocab);
    d->silent = calloc(d->n_vocab, 1);
    if (!d->silent) return fail(TACIT_NOMEM, "no memory for %zu tokens", n);
    for (size_t i = 0; i < d->n_vocab; i++) {
        enum vocab_class c =
            i < n ? vocab_class_of(d->vocab, (int32_t)i) : VOCAB_UNUSED;
        d->silent[i] =
            (c == VOCAB_CONTROL || c == VOCAB_UNKNOWN || c == VOCAB_UNUSED) &&
            !(i < n && vocab_ends(d->vocab, (int32_t)i));
    }
    return TACIT_OK;
}

static enum tacit_err find_chat(struct decoder *d)
{
    const struct gguf *g = model_files_metadata(d->files);
    const char *program = NULL;
    size_t n = 0;
    if (gguf_has(g, "tokenizer.chat_template") &&
        gguf_text(g, "tokenizer.chat_template", &program, &n)) {
        program = NULL;
        err_clear();
    }
    d->chat = chat_family_of(program, n, d->vocab);
    return TACIT_OK;
}

/* Its network with what was learnt of it. Prompts that were read without, or
 * with something else, are another model's. */
static enum tacit_err open_net(struct decoder *d, const struct decoder_model *m)
{
    struct digest_state s;
    if (!m->learnt) return net_open(d->files, NULL, &d->net);
    const struct net_options o = tuned_options(m->base);
    TRY(net_open(d->files, &o, &d->net));
    const struct params *p = net_params(d->net);
    if (p->n_flat != m->n_learnt)
        return fail(TACIT_SHAPE, "an adapter of %zu numbers; it has %zu",
                    m->n_learnt, p->n_flat);
    memcpy(p->flat, m->learnt, p->n_flat * sizeof *p->flat);
    d->need.weights += p->n_flat * sizeof *p->flat;
    digest_begin(&s);
    digest_add(&s, m->hash.b, sizeof m->hash.b);
    digest_add(&s, m->learnt, m->n_learnt * sizeof *m->learnt);
    digest_end(&s, &d->hash);
    return TACIT_OK;
}

static enum tacit_err open_files(struct decoder *d,
                                 const struct decoder_model *m)
{
    struct digest unused;
    TRY(model_files_open(m->path, &d->files));
    TRY(model_files_vocab(d->files, &d->vocab));
    model_files_hash(d->files, &unused, &d->need.weights);
    TRY(open_net(d, m));
    if (!net_is_decoder(d->net))
        return fail_as(E_MODEL_UNSUPPORTED,
                       "it turns text into vectors; writing wants a decoder "
                       "(llama, qwen2)");
    TRY(take_context(d, m->context));
    d->need.free = m->memory ? m->memory : memory_free();
    count_need(d);
    TRY(check_need(d));
    TRY(find_silent(d));
    TRY(find_chat(d));
    d->seen = calloc(d->context + 1, sizeof *d->seen);
    d->edge = calloc(d->context / DECODER_PIECE + DECODER_CUTS_MAX + 2,
                     sizeof *d->edge);
    if (!d->seen || !d->edge) return fail(TACIT_NOMEM, "no memory for tokens");
    return pool_new(&d->pool, m->threads);
}

enum tacit_err decoder_open(const struct decoder_model *m, struct decoder **out)
{
    struct decoder *d = calloc(1, sizeof *d);
    if (!d) return fail(TACIT_NOMEM, "no memory for a decoder");
    snprintf(d->name, sizeof d->name, "%s", m->name);
    d->hash = m->hash;
    d->cache_type = m->cache;
    tape_init(&d->tape, 0);
    enum tacit_err err = open_files(d, m);
    d->tape.pool = d->pool;
    if (err) {
        decoder_close(d);
        return err_context(err, "model %s", m->name);
    }
    *out = d;
    return TACIT_OK;
}

void decoder_close(struct decoder *d)
{
    if (!d) return;
    kv_free(d->kv);
    tape_release(&d->tape);
    pool_free(d->pool);
    net_close(d->net);
    vocab_free(d->vocab);
    model_files_close(d->files);
    free(d->silent);
    free(d->seen);
    free(d->edge);
    free(d);
}

const struct vocab *decoder_vocab(const struct decoder *d)
{
    return d->vocab;
}

enum chat_family decoder_chat(const struct decoder *d)
{
    return d->chat;
}

size_t decoder_context(const struct decoder *d)
{
    return d->context;
}

const struct digest *decoder_hash(const struct decoder *d)
{
    return &d->hash;
}

const struct decoder_need *decoder_need(const struct decoder *d)
{
    return &d->need;
}

/* ---- passes ------------------------------------------------------------- */

struct work {
    struct decoder *d;
    const struct decoder_job *job;
    struct decoder_report *report;
    struct sampler *sampler;
    uint32_t *edge; /* of this prompt */
    size_t n_edges;
    const float *logits; /* of the rows that were asked for, in the tape */
    float *row;          /* [n_vocab] what may be drawn */
    uint32_t *token;     /* prompt and answer */
    size_t n;
};

/* n tokens behind what is in the cache; logits of their last n_rows. */
static enum tacit_err feed(struct work *w, const uint32_t *token, size_t n,
                           size_t n_rows)
{
    struct decoder *d = w->d;
    const uint32_t start[] = {0, (uint32_t)n};
    uint32_t row[NET_STEPS_MAX];
    const struct net_run run = {.net = d->net, .tape = &d->tape};
    const struct net_batch batch = {.token = token,
                                    .n = n,
                                    .segments = {start, 1},
                                    .cache = &d->kv};
    if (w->job->go_on) TRY(w->job->go_on(w->job->ctx));
    tape_reset(&d->tape);
    struct var *h = net_hidden(&run, &batch);
    for (size_t i = 0; i < n_rows; i++) row[i] = (uint32_t)(n - n_rows + i);
    if (h && n_rows) {
        const struct var *z = net_logits(&run, h, row, n_rows);
        if (z) w->logits = z->v;
    }
    return d->tape.err;
}

/* Room for n tokens in the cache; what it holds stays. */
static enum tacit_err make_room(struct decoder *d, size_t n)
{
    if (d->kv && kv_shape(d->kv)->n_max >= n) return TACIT_OK;
    size_t most = d->context + NET_STEPS_MAX;
    size_t room = (n + ROOM_STEP - 1) / ROOM_STEP * ROOM_STEP;
    struct kv *more = NULL;
    const struct kv_shape s = cache_shape(d, room < most ? room : most);
    TRY(kv_new(&s, &more));
    enum tacit_err err = d->kv ? kv_copy(more, d->kv, kv_n(d->kv)) : TACIT_OK;
    if (err) {
        kv_free(more);
        return err;
    }
    kv_free(d->kv);
    d->kv = more;
    return TACIT_OK;
}

/* ---- the prompt --------------------------------------------------------- */

/* Every DECODER_PIECE tokens and at the cuts, rising; the prompt's end last. */
static enum tacit_err find_edges(struct work *w)
{
    const struct decoder_job *job = w->job;
    size_t most = job->n_prompt / DECODER_PIECE + job->n_cuts + 2, at = 0;
    size_t cut = 0;
    w->edge = calloc(most, sizeof *w->edge);
    if (!w->edge) return fail(TACIT_NOMEM, "no memory for a prompt");
    while (at < job->n_prompt) {
        size_t next = (at / DECODER_PIECE + 1) * DECODER_PIECE;
        while (cut < job->n_cuts && job->cut[cut] <= at) cut++;
        if (cut < job->n_cuts && job->cut[cut] < next) next = job->cut[cut];
        if (next > job->n_prompt) next = job->n_prompt;
        w->edge[w->n_edges++] = (uint32_t)next;
        at = next;
    }
    return TACIT_OK;
}

static struct prompt_prefix prefix_to(const struct work *w, size_t cut)
{
    struct prompt_prefix p = {&w->d->hash, w->job->prompt, cut, w->edge, 0};
    while (p.n_edges < w->n_edges && w->edge[p.n_edges] <= cut) p.n_edges++;
    return p;
}

/* What the cache has of this prompt, up to an edge that both have. */
static size_t kept(const struct work *w)
{
    const struct decoder *d = w->d;
    size_t n = 0, common = 0, most = w->job->n_prompt - 1;
    while (common < d->n_seen && common < most &&
           d->seen[common] == w->job->prompt[common])
        common++;
    for (size_t i = 0; i < d->n_edges && i < w->n_edges; i++) {
        if (d->edge[i] != w->edge[i] || w->edge[i] > common) break;
        n = w->edge[i];
    }
    return n;
}

/* The longest cut that is on disk, if it is longer than what is kept. */
static enum tacit_err read_prefix(struct work *w, size_t *n)
{
    const struct decoder_job *job = w->job;
    for (size_t i = job->n_cuts; job->cache && i-- > 0 && job->cut[i] > *n;) {
        struct prompt_prefix p = prefix_to(w, job->cut[i]);
        int found = 0;
        if (p.n >= job->n_prompt) continue;
        TRY(prompt_cache_read(job->cache, &p, w->d->kv, &found));
        if (!found) continue;
        w->report->n_read = p.n;
        *n = p.n;
        return TACIT_OK;
    }
    w->report->n_kept = *n;
    return TACIT_OK;
}

static enum tacit_err read_prompt(struct work *w)
{
    struct decoder *d = w->d;
    const struct decoder_job *job = w->job;
    int64_t from = tick_ns();
    size_t n = kept(w);
    TRY(make_room(d, job->n_prompt + job->n_max + NET_STEPS_MAX));
    d->n_seen = d->n_edges = 0; /* until all of it is there */
    size_t before = n;
    TRY(read_prefix(w, &n));
    if (n == before) kv_truncate(d->kv, n < kv_n(d->kv) ? n : kv_n(d->kv));
    for (size_t i = 0; i < w->n_edges; i++) {
        size_t end = w->edge[i];
        if (end <= n) continue;
        TRY(feed(w, job->prompt + n, end - n, end == job->n_prompt));
        n = end;
    }
    memcpy(d->seen, job->prompt, n * sizeof *d->seen);
    memcpy(d->edge, w->edge, w->n_edges * sizeof *d->edge);
    d->n_seen = n;
    d->n_edges = w->n_edges;
    w->report->prefill_ns = tick_ns() - from;
    return TACIT_OK;
}

/* A full disk or a folder that may not be written loses no answer. */
static void keep_prefixes(const struct work *w)
{
    const struct decoder_job *job = w->job;
    for (size_t i = 0; job->cache && i < job->n_cuts; i++) {
        const struct prompt_prefix p = prefix_to(w, job->cut[i]);
        if (p.n && p.n < job->n_prompt &&
            prompt_cache_write(job->cache, &p, w->d->kv))
            err_clear();
    }
}

/* ---- the answer --------------------------------------------------------- */

static enum tacit_err draw(struct work *w, const float *logits, uint32_t *out)
{
    const struct decoder *d = w->d;
    memcpy(w->row, logits, d->n_vocab * sizeof *w->row);
    for (size_t i = 0; i < d->n_vocab; i++)
        if (d->silent[i]) w->row[i] = -INFINITY;
    if (w->job->forbid) w->job->forbid(w->job->ctx, w->row);
    return sampler_pick(w->sampler, w->row, w->token + w->job->n_prompt,
                        w->n - w->job->n_prompt, out);
}

/* *done: the answer ends with, or before, this token. */
static enum tacit_err take(struct work *w, uint32_t token, int *done)
{
    *done = vocab_ends(w->d->vocab, (int32_t)token);
    if (*done) {
        w->report->end = DECODER_MARK;
        return TACIT_OK;
    }
    w->token[w->n++] = token;
    w->report->n_tokens++;
    if (w->job->take) TRY(w->job->take(w->job->ctx, token, done));
    if (*done)
        w->report->end = DECODER_CONTENT;
    else if (w->report->n_tokens >= w->job->n_max)
        *done = 1, w->report->end = DECODER_LENGTH;
    return TACIT_OK;
}

/* The last token, which is not in the cache yet, and guesses behind it. */
static enum tacit_err step(struct work *w, struct draft *draft, int *done)
{
    struct decoder *d = w->d;
    uint32_t batch[1 + DRAFT_MAX], next;
    size_t left = w->job->n_max - w->report->n_tokens, n_right = 0;
    size_t known = kv_n(d->kv);
    batch[0] = w->token[w->n - 1];
    size_t n = draft_guess(draft, w->token, w->n, batch + 1);
    if (n >= left) n = left - 1;
    TRY(feed(w, batch, 1 + n, 1 + n));
    for (size_t i = 0; !*done; i++) {
        TRY(draw(w, w->logits + i * d->n_vocab, &next));
        TRY(take(w, next, done));
        if (*done || i == n || next != batch[i + 1]) break;
        n_right++;
    }
    kv_truncate(d->kv, known + 1 + n_right);
    draft_judge(draft, n, n_right);
    w->report->n_guessed += n;
    w->report->n_right += n_right;
    return TACIT_OK;
}

static enum tacit_err write_answer(struct work *w)
{
    struct draft draft;
    uint32_t first;
    int done = 0;
    int64_t from = tick_ns();
    draft_begin(&draft, w->job->guesses);
    TRY(draw(w, w->logits, &first));
    enum tacit_err err = take(w, first, &done);
    while (!err && !done) err = step(w, &draft, &done);
    w->report->decode_ns = tick_ns() - from;
    return err;
}

static enum tacit_err check_job(const struct decoder *d,
                                const struct decoder_job *job)
{
    if (!job->n_prompt || !job->n_max)
        return fail(TACIT_STATE, "a prompt and an answer have a token or more");
    if (job->n_prompt > d->context || job->n_max > d->context - job->n_prompt)
        return fail_as(E_PROMPT_ROOM,
                       "a prompt of %zu tokens and an answer of %zu; %s has "
                       "room for %zu",
                       job->n_prompt, job->n_max, d->name, d->context);
    for (size_t i = 0; i < job->n_prompt; i++)
        if (job->prompt[i] >= d->n_vocab)
            return fail(TACIT_LIMIT, "token %u of a vocabulary of %zu",
                        job->prompt[i], d->n_vocab);
    return TACIT_OK;
}

enum tacit_err decoder_generate(struct decoder *d,
                                const struct decoder_job *job,
                                struct decoder_report *out)
{
    struct work w = {.d = d, .job = job, .report = out};
    *out = (struct decoder_report){.n_prompt = job->n_prompt};
    TRY(check_job(d, job));
    enum tacit_err err = sampler_new(&job->sampling, d->n_vocab, &w.sampler);
    w.row = calloc(d->n_vocab, sizeof *w.row);
    w.token = calloc(job->n_prompt + job->n_max + 1, sizeof *w.token);
    if (!err && (!w.row || !w.token))
        err = fail(TACIT_NOMEM, "no memory for an answer");
    if (!err) {
        memcpy(w.token, job->prompt, job->n_prompt * sizeof *w.token);
        w.n = job->n_prompt;
        err = find_edges(&w);
    }
    if (!err) err = read_prompt(&w);
    if (!err) err = write_answer(&w);
    if (!err) keep_prefixes(&w);
    sampler_free(w.sampler);
    free(w.row);
    free(w.token);
    free(w.edge);
    return err;
}
