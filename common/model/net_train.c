#include "common/model/net_train.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/pool.h"
#include "common/model/net_parts.h"
#include "common/tensor/kernel_choice.h"
#include "common/tensor/ops_linear.h"

/* ---- counting ---- */

enum {
    ALIGN = 64,
    ROOM_BYTES = 1 << 20,   /* products with packed matrices, of one tape */
    THREAD_BYTES = 1 << 19, /* stacks and packed pieces */
    AROUND_BYTES = 1 << 20, /* the tapes' own lists, and what rounds up */
    WIDE_GRADS = 3,         /* [T, feed] that are there at a time */
    NARROW_GRADS = 4,       /* [T, width] beside them */
    ENDS_GRADS = 4          /* [T, width] of what is around the blocks */
};

/* Bytes of [rows, cols] f32 and of its var. */
static size_t value(size_t rows, size_t cols)
{
    return (rows * cols * sizeof(float) + ALIGN - 1) / ALIGN * ALIGN + ALIGN;
}

struct sizes {
    size_t rows, width, query, key, feed, heads, rank;
    int trained; /* matrices, which then know where their rows begin */
    const struct net_family *family;
};

static struct sizes sizes_of(const struct net *n, const struct net_load *load)
{
    const struct net_shape *s = &n->shape;
    const struct net_layer *l = &n->layers[0];
    const struct net_matrix *const m[] = {&l->q,     &l->k,    &l->v,
                                          &l->mix,   &l->gate, &l->widen,
                                          &l->narrow};
    size_t rank = 0;
    for (size_t i = 0; i < sizeof m / sizeof *m; i++)
        if (m[i]->down.rows > rank) rank = m[i]->down.rows;
    return (struct sizes){.rows = load->rows,
                          .width = s->width,
                          .query = s->heads * s->head_width,
                          .key = s->kv_heads * s->head_width,
                          .feed = s->feed,
                          .heads = s->heads,
                          .rank = rank,
                          .trained = l->q.w.trained,
                          .family = n->family};
}

/* op_project(): its value, places of rows, the inner values of a pair. */
static size_t projected(const struct sizes *s, size_t out)
{
    size_t bytes = value(s->rows, out) + 4 * ALIGN;
    if (s->trained) bytes += value(2, out);
    if (s->rank) bytes += value(2 * s->rows, s->rank) + value(2, out);
    return bytes + 6 * ALIGN;
}

static size_t normed(const struct sizes *s)
{
    return value(s->rows, s->width) + value(2, s->width) + value(2, s->rows) +
           2 * ALIGN;
}

/* What block() of net.c leaves on a tape with gradients. */
static size_t block_values(const struct sizes *s)
{
    int gated = s->family->gate == GATE_SWIGLU;
    int turned = s->family->places != PLACES_LEARNED;
    size_t bytes = projected(s, s->query) + 2 * projected(s, s->key);
    if (turned) bytes += value(s->rows, s->query) + value(s->rows, s->key);
    bytes += value(s->rows, s->query) + value(s->rows, s->heads);
    bytes += projected(s, s->width) + 2 * value(s->rows, s->width);
    bytes += 2 * normed(s);
    bytes += (gated ? 2 : 1) * projected(s, s->feed);
    bytes += value(s->rows, s->feed) + projected(s, s->width);
    return bytes + 16 * ALIGN;
}

static size_t block_grads(const struct sizes *s)
{
    size_t wide = s->feed > s->query ? s->feed : s->query;
    size_t n_wide =
        s->family->gate == GATE_SWIGLU ? WIDE_GRADS : WIDE_GRADS - 1;
    return n_wide * value(s->rows, wide) +
           NARROW_GRADS * value(s->rows, s->width);
}

/* The embedding, the last norm, the loss. */
static size_t ends(const struct net *n, const struct net_load *load)
{
    struct sizes s = sizes_of(n, load);
    size_t sequences = load->sequences ? load->sequences : 1, labels;
    size_t bytes = value(s.rows, s.width);
    if (n->places.w.rows) bytes += 2 * value(s.rows, s.width);
    if (n->types.w.rows) bytes += 2 * value(s.rows, s.width) + value(s.rows, 1);
    if (n->before.gain.rows) bytes += normed(&s);
    if (n->last.gain.rows) bytes += normed(&s);
    bytes += 2 * value(s.rows, n->shape.rope.dims) + value(s.rows, 1);
    bytes += ENDS_GRADS * value(s.rows, s.width);
    bytes += 8 * value(sequences, s.width) + 4 * value(sequences, sequences);
    labels = load->labels;
    if (labels)
        bytes += op_head_bytes(labels, n->shape.width, n->shape.vocab) +
                 value(2, n->shape.vocab);
    return bytes;
}

static size_t learned(const struct net *n, const struct optim_config *o)
{
    return n->params.n_flat * sizeof(float) * (2 + optim_moments(o));
}

void net_train_estimate(const struct net *n, const struct net_train_options *o,
                        size_t n_kept, struct net_memory *out)
{
    struct sizes s = sizes_of(n, &o->load);
    size_t layers = n->trains_blocks ? n->shape.layers : 0;
    size_t threads = o->pool ? pool_threads(o->pool) : 1;
    if (n_kept > layers) n_kept = layers;
    struct net_memory m = {.weights = n->frozen_bytes,
                           .learned = learned(n, &o->optim),
                           .n_kept = n_kept};
    m.kept = ends(n, &o->load) + n_kept * block_values(&s) +
             (layers - n_kept) * value(s.rows, s.width) + AROUND_BYTES;
    if (n_kept) m.kept += block_grads(&s);
    if (n_kept < layers || !layers) m.block = block_values(&s);
    if (n_kept < layers) m.block += block_grads(&s);
    m.scratch = 2 * ROOM_BYTES + threads * THREAD_BYTES + o->beside_bytes;
    m.total = m.weights + m.learned + m.kept + m.block + m.scratch;
    *out = m;
}

/* ---- a network that learns ---- */

struct net_train {
    struct net *net;
    struct net_load load;
    struct net_memory memory;
    struct tape tape, again;
    struct net_run run;
    struct optim *optim;
    float *grad; /* [n_flat], owned */
};

static double mib(size_t bytes)
{
    return (double)bytes / (1 << 20);
}

enum tacit_err net_train_plan(const struct net *n,
                              const struct net_train_options *o,
                              struct net_memory *out)
{
    size_t kept = n->shape.layers;
    net_train_estimate(n, o, kept, out);
    while (o->budget_bytes && kept && out->total > o->budget_bytes)
        net_train_estimate(n, o, --kept, out);
    if (!o->budget_bytes || out->total <= o->budget_bytes) return TACIT_OK;
    size_t fixed = out->weights + out->learned + out->scratch;
    if (fixed >= o->budget_bytes)
        return fail_as(E_TRAIN_MEMORY,
                       "training takes %.0f MiB, of which %.0f are the model "
                       "itself; the budget is %.0f MiB; train pairs of low "
                       "rank over a quantised model, or raise the budget",
                       mib(out->total), mib(fixed), mib(o->budget_bytes));
    return fail_as(E_TRAIN_MEMORY,
                   "training takes %.0f MiB, the budget is %.0f MiB; with "
                   "batches of at most %zu tokens it fits",
                   mib(out->total), mib(o->budget_bytes),
                   (size_t)((double)o->load.rows *
                            (double)(o->budget_bytes - fixed) /
                            (double)(out->kept + out->block)));
}

enum gemm_numbers net_train_multiplies(enum net_train_numbers numbers)
{
    int brief = numbers == NET_TRAIN_FAST && kernel_may(KERNEL_AVX512BF16);
    return brief ? GEMM_BF16 : GEMM_F32;
}

enum gemm_numbers net_train_in(const struct net_train *t)
{
    return t->tape.numbers;
}

static enum tacit_err set_tapes(struct net_train *t,
                                const struct net_train_options *o)
{
    const struct net_memory *m = &t->memory;
    int limited = o->budget_bytes != 0;
    /* What the plan leaves over is for the batch's own tape. */
    tape_init(&t->tape, limited ? m->kept + (o->budget_bytes - m->total) : 0);
    tape_init(&t->again, limited ? m->block : 0);
    t->tape.pool = t->again.pool = o->pool;
    t->tape.numbers = t->again.numbers = net_train_multiplies(o->numbers);
    t->run = (struct net_run){.net = t->net,
                              .tape = &t->tape,
                              .grad = t->grad,
                              .again = m->block ? &t->again : NULL,
                              .keep = m->n_kept};
    TRY(tape_reserve(&t->tape, m->kept));
    return m->block ? tape_reserve(&t->again, m->block) : TACIT_OK;
}

enum tacit_err net_train_new(struct net *n, const struct net_train_options *o,
                             struct net_train **out)
{
    struct net_memory memory;
    if (!n->params.n_flat)
        return fail(TACIT_STATE, "nothing of the network is trained");
    if (!o->load.rows || o->load.rows > NET_TOKENS_MAX)
        return fail(TACIT_LIMIT, "batches of %zu tokens; 1 to %d", o->load.rows,
                    NET_TOKENS_MAX);
    TRY(net_train_plan(n, o, &memory));
    struct net_train *t = calloc(1, sizeof *t);
    if (!t) return fail(TACIT_NOMEM, "out of memory");
    t->net = n;
    t->load = o->load;
    t->memory = memory;
    t->grad = calloc(n->params.n_flat, sizeof *t->grad);
    enum tacit_err err =
        t->grad ? optim_new(&o->optim, n->params.n_flat, &t->optim)
                : fail(TACIT_NOMEM, "out of memory for a gradient");
    if (!err) err = set_tapes(t, o);
    if (err)
        net_train_free(t);
    else
        *out = t;
    return err;
}

void net_train_free(struct net_train *t)
{
    if (!t) return;
    tape_release(&t->tape);
    tape_release(&t->again);
    optim_free(t->optim);
    free(t->grad);
    free(t);
}

const struct net_memory *net_train_memory(const struct net_train *t)
{
    return &t->memory;
}

size_t net_train_bytes(const struct net_train *t)
{
    return tape_bytes(&t->tape) + tape_bytes(&t->again) + t->memory.learned;
}

const float *net_train_gradient(const struct net_train *t)
{
    return t->grad;
}

enum tacit_err net_train_begin(struct net_train *t, const struct net_batch *b,
                               const struct net_run **out)
{
    size_t sequences = t->load.sequences ? t->load.sequences : 1;
    if (b->n > t->load.rows || b->segments.n > sequences)
        return fail(TACIT_LIMIT,
                    "a batch of %zu tokens in %zu sequences; memory was "
                    "planned for %zu in %zu",
                    b->n, b->segments.n, t->load.rows, sequences);
    tape_reset(&t->tape);
    tape_reset(&t->again);
    memset(t->grad, 0, t->net->params.n_flat * sizeof *t->grad);
    *out = &t->run;
    return TACIT_OK;
}

enum tacit_err net_train_end(struct net_train *t, struct var *loss)
{
    if (t->tape.err) return t->tape.err;
    if (!loss) return fail(TACIT_STATE, "a step without a loss");
    TRY(tape_backward(&t->tape, loss));
    optim_step(t->optim, t->net->params.flat, t->grad);
    return TACIT_OK;
}
