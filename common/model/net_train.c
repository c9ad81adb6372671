#include "common/model/net_train.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/pool.h"
#include "common/model/net_parts.h"
#include "common/tensor/kernel_choice.h"
#include "common/tensor/ops_feed.h"
#include "common/tensor/ops_linear.h"

enum gemm_numbers net_train_multiplies(enum net_train_numbers numbers)
{
    int brief = numbers == NET_TRAIN_FAST && kernel_may(KERNEL_AVX512BF16);
    return brief ? GEMM_BF16 : GEMM_F32;
}

/* ---- counting ---- */

enum {
    ALIGN = 64,
    ROOM_BYTES = 1 << 20,   /* products with packed matrices, of one tape */
    THREAD_BYTES = 1 << 20, /* stacks and packed pieces */
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
    int whole;   /* op_feed() has a layer's feed */
    enum gemm_numbers numbers;
    const struct net_family *family;
};

static struct sizes sizes_of(const struct net *n,
                             const struct net_train_options *o)
{
    const struct net_load *load = &o->load;
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
                          .whole = net_feeds_whole(n, l),
                          .numbers = net_train_multiplies(o->numbers),
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
    bytes += projected(s, s->width);
    bytes += 2 * normed(s);
    if (s->whole)
        return bytes + projected(s, s->width) + value(2, s->feed) +
               op_feed_kept(s->rows, s->feed, s->numbers) + 20 * ALIGN;
    bytes += (gated ? 2 : 1) * projected(s, s->feed);
    bytes += value(s->rows, s->feed) + projected(s, s->width);
    return bytes + 16 * ALIGN;
}

static size_t block_grads(const struct sizes *s)
{
    size_t wide = s->feed > s->query ? s->feed : s->query;
    size_t n_wide =
        s->family->gate == GATE_SWIGLU ? WIDE_GRADS : WIDE_GRADS - 1;
    if (s->whole)
        return op_feed_shared(s->rows, s->feed) +
               (NARROW_GRADS + 1) * value(s->rows, s->query);
    return n_wide * value(s->rows, wide) +
           NARROW_GRADS * value(s->rows, s->width);
}

/* The embedding, the last norm, the loss. */
static size_t ends(const struct net *n, const struct net_train_options *o)
{
    const struct net_load *load = &o->load;
    struct sizes s = sizes_of(n, o);
    size_t sequences = load->sequences ? load->sequences : 1, labels;
    size_t bytes = value(s.rows, s.width);
    if (n->places.w.rows) bytes += value(1, s.width);
    if (n->types.w.rows) bytes += value(1, s.width) + value(s.rows, 1);
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

/* Of the products, by threads; and what is beside. */
static size_t scratch(const struct net_train_options *o)
{
    size_t threads = o->pool ? pool_threads(o->pool) : 1;
    return 2 * ROOM_BYTES + threads * THREAD_BYTES + o->beside_bytes;
}

void net_train_estimate(const struct net *n, const struct net_train_options *o,
                        size_t n_kept, struct net_memory *out)
{
    struct sizes s = sizes_of(n, o);
    size_t layers = n->trains_blocks ? n->shape.layers : 0;
    if (n_kept > layers) n_kept = layers;
    struct net_memory m = {.weights = n->frozen_bytes,
                           .learned = learned(n, &o->optim),
                           .n_kept = n_kept};
    m.kept = ends(n, o) + n_kept * block_values(&s) +
             (layers - n_kept) * value(s.rows, s.width) + AROUND_BYTES;
    if (n_kept) m.kept += block_grads(&s);
    if (n_kept < layers || !layers) m.block = block_values(&s);
    if (n_kept < layers) m.block += block_grads(&s);
    m.scratch = scratch(o);
    m.total = m.weights + m.learned + m.kept + m.block + m.scratch;
    *out = m;
}

void net_forward_estimate(const struct net *n,
                          const struct net_train_options *o,
                          struct net_memory *out)
{
    struct sizes s = sizes_of(n, o);
    struct net_memory m = {.weights = n->frozen_bytes,
                           .learned = n->params.n_flat * sizeof(float),
                           .block = block_values(&s),
                           .scratch = scratch(o)};
    m.kept = ends(n, o) - ENDS_GRADS * value(s.rows, s.width) + AROUND_BYTES;
    m.total = m.weights + m.learned + m.kept + m.block + m.scratch;
    *out = m;
}

/* ---- a network that learns ---- */

struct net_train {
    struct net *net;
    struct net_train_options o; /* optim.kind is not kept */
    struct net_memory memory;
    struct tape tape, again;
    struct net_run run;
    struct optim *optim;
    float *grad; /* [n_flat], in grad_room */
    float *grad_room;
    /* Which chunks of OPTIM_CHUNK parameters ever had a gradient, owned: the
     * others' gradient and moments are zeros that nobody has written. */
    uint8_t *reached;
    size_t n_chunks, n_reached;
    size_t moments; /* numbers of the optimiser for each parameter */
    int begun;      /* the tapes are set */
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

enum gemm_numbers net_train_in(const struct net_train *t)
{
    return t->tape.numbers;
}

static enum tacit_err set_tapes(struct net_train *t)
{
    const struct net_memory *m = &t->memory;
    size_t budget = t->o.budget_bytes;
    tape_release(&t->tape);
    tape_release(&t->again);
    /* What the plan leaves over is for the batch's own tape. */
    tape_init(&t->tape, budget ? m->kept + (budget - m->total) : 0);
    tape_init(&t->again, budget ? m->block : 0);
    t->tape.pool = t->again.pool = t->o.pool;
    t->tape.numbers = t->again.numbers = net_train_multiplies(t->o.numbers);
    t->run = (struct net_run){.net = t->net,
                              .tape = &t->tape,
                              .grad = t->grad,
                              .again = m->block ? &t->again : NULL,
                              .keep = m->n_kept};
    TRY(tape_reserve(&t->tape, m->kept));
    return m->block ? tape_reserve(&t->again, m->block) : TACIT_OK;
}

/* ---- what is reached ---- */

/* Chunks that parameters [from, from + n) lie in. */
static void reach(struct net_train *t, size_t from, size_t n)
{
    for (size_t i = from / OPTIM_CHUNK; i * OPTIM_CHUNK < from + n; i++) {
        t->n_reached += !t->reached[i];
        t->reached[i] = 1;
    }
}

/* Of an encoder's tables, only rows that were looked up have a gradient. */
static int is_sparse(const struct net *n, const struct net_matrix *table)
{
    return table->w.trained && !net_is_decoder(n);
}

static void reach_rows(struct net_train *t, const struct net_matrix *table,
                       const uint32_t *id, size_t n)
{
    size_t cols = table->w.cols;
    for (size_t i = 0; is_sparse(t->net, table) && i < n; i++)
        if (id[i] < table->w.rows)
            reach(t, table->w.offset + id[i] * cols, cols);
}

/* All but the tables of tokens and places. */
static enum tacit_err reach_most(struct net_train *t)
{
    const struct net_tensor *tokens = &t->net->tokens.w;
    const struct net_tensor *places = &t->net->places.w;
    size_t n_flat = t->net->params.n_flat;
    t->n_chunks = (n_flat + OPTIM_CHUNK - 1) / OPTIM_CHUNK;
    t->reached = calloc(t->n_chunks, sizeof *t->reached);
    if (!t->reached) return fail(TACIT_NOMEM, "out of memory");
    for (size_t i = 0; i < t->net->params.n_params; i++) {
        const struct param *p = &t->net->params.list[i];
        int spared =
            (is_sparse(t->net, &t->net->tokens) &&
             p->offset == tokens->offset) ||
            (is_sparse(t->net, &t->net->places) && p->offset == places->offset);
        if (!spared) reach(t, p->offset, p->len);
    }
    return TACIT_OK;
}

/* The longest sequence's places, and its tokens. */
static void reach_batch(struct net_train *t, const struct net_batch *b)
{
    reach_rows(t, &t->net->tokens, b->token, b->n);
    if (b->position) {
        reach_rows(t, &t->net->places, b->position, b->n);
        return;
    }
    size_t longest = 0;
    for (size_t i = 0; i < b->segments.n; i++) {
        size_t n = b->segments.start[i + 1] - b->segments.start[i];
        longest = n > longest ? n : longest;
    }
    const struct net_tensor *places = &t->net->places.w;
    if (longest > places->rows) longest = places->rows;
    if (is_sparse(t->net, &t->net->places))
        reach(t, places->offset, longest * places->cols);
}

/* As many blocks kept as there is room for beside what is reached by now: fewer
 * as training goes on, down to what net_train_new() has found to fit. */
static enum tacit_err adapt(struct net_train *t)
{
    size_t n_flat = t->net->params.n_flat * sizeof(float);
    size_t some = t->n_reached * OPTIM_CHUNK * sizeof(float);
    size_t now = n_flat + (some < n_flat ? some : n_flat) * (1 + t->moments);
    size_t budget = t->o.budget_bytes, kept = t->net->shape.layers;
    struct net_memory m;
    do {
        net_train_estimate(t->net, &t->o, kept, &m);
        m.total -= m.learned - now;
        m.learned = now;
    } while (budget && m.total > budget && kept-- > 0);
    int same = t->begun && m.n_kept == t->memory.n_kept;
    t->memory = m;
    t->begun = 1;
    return same ? TACIT_OK : set_tapes(t);
}

static enum tacit_err set_up(struct net_train *t,
                             const struct net_train_options *o)
{
    size_t n = t->net->params.n_flat;
    t->o = *o;
    t->moments = optim_moments(&o->optim);
    /* As many moments, in words that last. */
    t->o.optim = (struct optim_config){.kind = t->moments > 1 ? "adamw" : "sgd",
                                       .momentum = t->moments == 1};
    t->tape.numbers = net_train_multiplies(o->numbers);
    t->grad = optim_zeros(n, &t->grad_room);
    if (!t->grad) return fail(TACIT_NOMEM, "out of memory for a gradient");
    TRY(reach_most(t));
    /* A decay that is part of the gradient reaches everything. */
    if (o->optim.weight_decay > 0 && strcmp(o->optim.kind, "adamw") != 0)
        reach(t, 0, n);
    return optim_new(&o->optim, n, &t->optim);
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
    t->memory = memory;
    enum tacit_err err = set_up(t, o);
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
    free(t->grad_room);
    free(t->reached);
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

/* Of what was reached; the rest is zero as it came. */
static void clear_gradient(struct net_train *t)
{
    size_t n = t->net->params.n_flat;
    for (size_t i = 0; i < t->n_chunks; i++) {
        size_t from = i * OPTIM_CHUNK, end = from + OPTIM_CHUNK;
        if (t->reached[i])
            memset(t->grad + from, 0,
                   ((end < n ? end : n) - from) * sizeof *t->grad);
    }
}

enum tacit_err net_train_begin(struct net_train *t, const struct net_batch *b,
                               const struct net_run **out)
{
    size_t sequences = t->o.load.sequences ? t->o.load.sequences : 1;
    if (b->n > t->o.load.rows || b->segments.n > sequences)
        return fail(TACIT_LIMIT,
                    "a batch of %zu tokens in %zu sequences; memory was "
                    "planned for %zu in %zu",
                    b->n, b->segments.n, t->o.load.rows, sequences);
    clear_gradient(t);
    reach_batch(t, b);
    TRY(adapt(t));
    tape_reset(&t->tape);
    tape_reset(&t->again);
    *out = &t->run;
    return TACIT_OK;
}

enum tacit_err net_train_end(struct net_train *t, struct var *loss)
{
    if (t->tape.err) return t->tape.err;
    if (!loss) return fail(TACIT_STATE, "a step without a loss");
    TRY(tape_backward(&t->tape, loss));
    optim_step_where(t->optim, t->net->params.flat, t->grad, t->reached);
    return TACIT_OK;
}
