#include "common/model/decoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/memory.h"
#include "common/model/decoder_parts.h"
#include "common/model/tuned_base.h"

enum {
    ROW_COPIES = 12,   /* of a row of width, feed: in one block */
    CHANCE_BYTES = 32, /* a token, in the sampler and the vocabulary */
    PROCESS_BYTES = 16 << 20
};

/* ---- its life ----------------------------------------------------------- */

struct kv_shape decoder_cache_shape(const struct decoder *d, size_t n_max)
{
    const struct net_shape *s = net_shape(d->net);
    return (struct kv_shape){.layers = s->layers,
                             .heads = s->kv_heads,
                             .width = s->head_width,
                             .n_max = n_max,
                             .type = d->cache_type,
                             .window = s->window};
}

static struct kv_shape largest_cache(const struct decoder *d)
{
    return decoder_cache_shape(d, d->context + NET_STEPS_MAX);
}

/* Of n sequences at once. */
static void count_need(struct decoder *d, size_t n_sequences)
{
    const struct net_shape *s = net_shape(d->net);
    const struct kv_shape cache = largest_cache(d);
    uint64_t row = (uint64_t)ROW_COPIES * s->width + 3 * (uint64_t)s->feed;
    struct decoder_need *n = &d->need;
    n->sequences = n_sequences;
    n->cache = n_sequences * (uint64_t)kv_bytes(&cache);
    n->work = PROCESS_BYTES + DECODER_PIECE * row * sizeof(float) +
              n_sequences * (uint64_t)s->vocab *
                  (CHANCE_BYTES + NET_STEPS_MAX * 2 * sizeof(float));
    n->all = n->weights + n->cache + n->work;
}

/* As many of those that are wanted as fit into what is free; one at least. */
static void choose_sequences(struct decoder *d, size_t wanted)
{
    if (!wanted) wanted = 1;
    if (wanted > DECODER_SEQUENCES_MAX) wanted = DECODER_SEQUENCES_MAX;
    do count_need(d, wanted);
    while (d->need.all > d->need.free && --wanted);
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
                    "its heads of %zu numbers do not fit keys and values in "
                    "%s%s",
                    net_shape(d->net)->head_width,
                    quant_info(d->cache_type)->name,
                    d->cache_type == QUANT_Q8_0
                        ? ", whose blocks have 32; f16 takes any"
                        : "");
    if (n->all <= n->free) return TACIT_OK;
    const struct kv_shape cache = largest_cache(d);
    size_t rows = kv_rows(&cache) < d->context ? kv_rows(&cache) : d->context;
    return fail_as(E_MODEL_MEMORY,
                   "%s needs %.0f MiB (weights %.0f, keys and values of %zu "
                   "tokens %.0f, work %.0f), and %.0f MiB may be taken",
                   d->name, mib(n->all), mib(n->weights), rows, mib(n->cache),
                   mib(n->work), mib(n->free));
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

static enum tacit_err make_seats(struct decoder *d)
{
    d->seats = calloc(d->need.sequences, sizeof *d->seats);
    if (!d->seats) return fail(TACIT_NOMEM, "no memory for sequences");
    for (; d->n_seats < d->need.sequences; d->n_seats++) {
        struct decoder_seat *s = &d->seats[d->n_seats];
        s->seen = calloc(d->context + 1, sizeof *s->seen);
        s->edge = calloc(d->context / DECODER_PIECE + DECODER_CUTS_MAX + 2,
                         sizeof *s->edge);
        if (!s->seen || !s->edge) {
            free(s->seen);
            free(s->edge);
            return fail(TACIT_NOMEM, "no memory for tokens");
        }
    }
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
    choose_sequences(d, m->sequences);
    TRY(check_need(d));
    TRY(find_silent(d));
    TRY(find_chat(d));
    TRY(make_seats(d));
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
    for (size_t i = 0; i < d->n_seats; i++) {
        kv_free(d->seats[i].kv);
        free(d->seats[i].seen);
        free(d->seats[i].edge);
    }
    free(d->seats);
    tape_release(&d->tape);
    pool_free(d->pool);
    net_close(d->net);
    vocab_free(d->vocab);
    model_files_close(d->files);
    free(d->silent);
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
