#include "common/model/net.h"

#include <math.h>
#include <string.h>

#include "common/model/net_parts.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_attend.h"
#include "common/tensor/ops_feed.h"
#include "common/tensor/ops_linear.h"
#include "common/tensor/ops_norm.h"

enum { SLAB_TOKENS = 256 };

const struct net_shape *net_shape(const struct net *n)
{
    return &n->shape;
}

struct params *net_params(struct net *n)
{
    return &n->params;
}

int net_is_decoder(const struct net *n)
{
    return n->shape.mask == ATTEND_CAUSAL;
}

/* ---- the network's numbers on a tape ---- */

static struct var *var_of(const struct net_run *r, const struct net_tensor *x)
{
    if (!x->rows || x->packed.data) return NULL;
    if (!x->trained) return tape_constant(r->tape, x->v, x->rows, x->cols);
    return tape_parameter(r->tape, r->net->params.flat + x->offset,
                          r->grad ? r->grad + x->offset : NULL, x->rows,
                          x->cols);
}

static struct op_matrix matrix_of(const struct net_run *r,
                                  const struct net_matrix *m)
{
    return (struct op_matrix){.w = var_of(r, &m->w),
                              .frozen = m->w.packed.data ? &m->w.packed : NULL,
                              .bias = var_of(r, &m->bias),
                              .down = var_of(r, &m->down),
                              .up = var_of(r, &m->up),
                              .scale = r->net->pair_scale};
}

static struct var *project(const struct net_run *r, struct var *x,
                           const struct net_matrix *m)
{
    struct op_matrix matrix = matrix_of(r, m);
    return op_project(r->tape, x, &matrix);
}

/* Several matrices by one x. */
static void project_all(const struct net_run *r, struct var *x,
                        const struct net_matrix *const *m, size_t n,
                        struct var **out)
{
    struct op_matrix matrices[PROJECT_MAX];
    for (size_t i = 0; i < n; i++) matrices[i] = matrix_of(r, m[i]);
    op_project_all(r->tape, x, matrices, n, out);
}

static struct var *norm(const struct net_run *r, struct var *x,
                        const struct net_norm *n)
{
    struct var *gain = var_of(r, &n->gain);
    double epsilon = r->net->shape.epsilon;
    if (r->net->family->norm == NORM_RMS)
        return op_rms_norm(r->tape, x, gain, epsilon);
    /* What follows a sum is all that reads it. */
    return (r->net->family->place == NORM_AFTER
                ? op_layer_norm_over
                : op_layer_norm_eps)(r->tape, x, gain, var_of(r, &n->bias),
                                     epsilon);
}

/* Rows of a table, added to h. */
static struct var *lookup(const struct net_run *r, const struct net_matrix *m,
                          const uint32_t *id, struct var *h)
{
    struct op_matrix matrix = matrix_of(r, m);
    return op_lookup_over(r->tape, &matrix, id, h);
}

/* ---- one block ---- */

/* What all layers of a pass share. */
struct pass {
    const struct net_run *run;
    const struct net_batch *batch;
    const uint32_t *position;
    const struct op_turns *turns; /* NULL: learned positions */
    int unread; /* what blocks put out: they are there for the way back */
};

/* Keys and values of this pass go behind what the caches hold. */
static enum tacit_err append(const struct pass *p, size_t layer,
                             const struct var *k, const struct var *v)
{
    const struct net_batch *b = p->batch;
    for (size_t i = 0; i < b->segments.n; i++) {
        size_t from = b->segments.start[i], end = b->segments.start[i + 1];
        TRY(kv_append(b->cache[i], layer, k->v + from * k->cols,
                      v->v + from * v->cols, end - from));
    }
    return TACIT_OK;
}

/* The sequences as attention walks them, and what each has behind it. The few
 * tokens of a short one are walked one by one, each with those before it as its
 * past: the same bits as if they had come one at a time. */
static int past_of(const struct pass *p, size_t layer, struct op_attend *how)
{
    const struct net_batch *b = p->batch;
    struct tape *t = p->run->tape;
    uint32_t *start = tape_raw(t, b->n + 1, sizeof *start);
    struct attend_past *past = tape_raw(t, b->n, sizeof *past);
    size_t n = 0;
    if (!start || !past) return 0;
    for (size_t i = 0; i < b->segments.n; i++) {
        uint32_t from = b->segments.start[i], end = b->segments.start[i + 1];
        uint32_t step = end - from > NET_STEPS_MAX ? end - from : 1;
        for (uint32_t at = from; at < end; at += step) {
            start[n] = at;
            past[n] = kv_past(b->cache[i], layer);
            past[n++].n += at - from;
        }
    }
    start[n] = (uint32_t)b->n;
    how->segments = (struct op_segments){start, n};
    how->past = past;
    return 1;
}

static struct var *attend(const struct pass *p, size_t index, struct var *x)
{
    const struct net_run *r = p->run;
    const struct net_shape *s = &r->net->shape;
    const struct net_layer *l = &r->net->layers[index];
    const struct net_batch *b = p->batch;
    struct tape *t = r->tape;
    const struct net_matrix *const matrices[] = {&l->q, &l->k, &l->v};
    struct var *qkv[3];
    project_all(r, x, matrices, 3, qkv);
    struct var *q = qkv[0], *k = qkv[1], *v = qkv[2];
    if (p->turns) {
        q = op_turn(t, q, p->turns, s->heads);
        k = op_turn(t, k, p->turns, s->kv_heads);
    }
    struct op_attend how = {.heads = s->heads,
                            .kv_heads = s->kv_heads,
                            .scale = 1 / sqrtf((float)s->head_width),
                            .mask = s->mask,
                            .window = s->window,
                            .segments = b->segments};
    if (b->cache && !t->err) t->err = append(p, index, k, v);
    if (b->cache && (t->err || !past_of(p, index, &how))) return NULL;
    return project(r, op_attend_over(t, q, k, v, &how), &l->mix);
}

int net_feeds_whole(const struct net *n, const struct net_layer *l)
{
    return n->family->gate == GATE_GELU && l->widen.w.trained &&
           l->narrow.w.trained && l->widen.bias.rows && l->narrow.bias.rows;
}

static struct var *feed(const struct pass *p, const struct net_layer *l,
                        struct var *x)
{
    const struct net_run *r = p->run;
    const struct net_matrix *const matrices[] = {&l->widen, &l->gate};
    int gated = r->net->family->gate == GATE_SWIGLU;
    struct var *y[2];
    if (net_feeds_whole(r->net, l)) {
        const struct op_feed m = {var_of(r, &l->widen.w),
                                  var_of(r, &l->widen.bias),
                                  var_of(r, &l->narrow.w),
                                  var_of(r, &l->narrow.bias)};
        return op_feed(r->tape, x, &m);
    }
    if (!gated && x && !x->grad) {
        const struct op_matrix widen = matrix_of(r, &l->widen);
        const struct op_matrix narrow = matrix_of(r, &l->narrow);
        if (op_feeds_packed(&widen, &narrow))
            return op_feed_packed(r->tape, x, &widen, &narrow);
    }
    project_all(r, x, matrices, gated ? 2 : 1, y);
    struct var *z =
        gated ? op_swiglu(r->tape, y[1], y[0]) : op_gelu_over(r->tape, y[0]);
    struct op_matrix narrow = matrix_of(r, &l->narrow);
    narrow.unread = p->unread && r->net->family->place == NORM_BEFORE;
    return op_project(r->tape, z, &narrow);
}

static struct var *block(const struct pass *p, size_t index, struct var *h)
{
    const struct net_run *r = p->run;
    const struct net_layer *l = &r->net->layers[index];
    struct tape *t = r->tape;
    if (r->net->family->place == NORM_BEFORE) {
        h = op_add_over(t, h, attend(p, index, norm(r, h, &l->first)));
        return op_add_over(t, h, feed(p, l, norm(r, h, &l->second)));
    }
    h = norm(r, op_add_over(t, h, attend(p, index, h)), &l->first);
    return norm(r, op_add_over(t, h, feed(p, l, h)), &l->second);
}

/* ---- a block that is worked out again ---- */

struct again {
    struct net_run run;
    struct net_batch batch;
    struct pass pass;
    size_t index;
    struct var *x, *y; /* of the last such block, which is still there */
};

/* The block on the second tape; with `grad`, so that there is a way back. */
static struct var *block_there(const struct pass *p, size_t index, float *grad,
                               struct var *x)
{
    struct tape *t = p->run->tape, *u = p->run->again;
    const struct net_run run = {.net = p->run->net, .tape = u, .grad = grad};
    struct pass there = *p;
    there.run = &run;
    u->numbers = t->numbers;
    return block(&there, index, x);
}

static void again_backward(const struct tape_node *n)
{
    const struct again *a = n->extra;
    struct tape *t = a->run.tape, *u = a->run.again;
    const struct var *in = n->in[0];
    struct pass p = a->pass;
    struct var *x = a->x, *y = a->y;
    p.run = &a->run;
    p.unread = 1;
    if (!y) {
        tape_reset(u);
        x = tape_parameter(u, in->v, in->grad, in->rows, in->cols);
        y = block_there(&p, a->index, a->run.grad, x);
    }
    if (y) {
        x->grad = in->grad;
        y->grad = n->out->grad;
        y->lent = 0;
        t->err = tape_backward_from(u);
    } else {
        t->err = u->err;
    }
}

/* The block's output over what h has, in passing. */
static void pass_by(const struct pass *p, size_t index, const struct var *h,
                    struct var *out)
{
    struct tape *t = p->run->tape;
    tape_pass_begin(t);
    struct var *next =
        block(p, index, tape_constant(t, h->v, h->rows, h->cols));
    if (next) memcpy(out->v, next->v, h->rows * h->cols * sizeof *h->v);
    tape_pass_end(t);
}

static struct var *block_again(const struct pass *p, size_t index,
                               struct var *h, int last)
{
    struct tape *t = p->run->tape, *u = p->run->again;
    if (!h) return NULL;
    struct var *out = tape_value(t, h->rows, h->cols, 1);
    struct again *a = tape_raw(t, 1, sizeof *a);
    if (!out || !a) return NULL;
    *a = (struct again){*p->run, *p->batch, *p, index, NULL, NULL};
    a->pass.batch = &a->batch;
    tape_reset(u);
    struct var *x =
        tape_parameter(u, h->v, last ? h->grad : NULL, h->rows, h->cols);
    struct var *y = block_there(p, index, last ? p->run->grad : NULL, x);
    if (y) memcpy(out->v, y->v, h->rows * h->cols * sizeof *h->v);
    if (last) {
        a->x = x;
        a->y = y;
    }
    t->err = u->err;
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {h},
                                       .extra = a,
                                       .backward = again_backward});
    return t->err ? NULL : out;
}

/* ---- all of them ---- */

static enum tacit_err check_batch(const struct net_run *r,
                                  const struct net_batch *b)
{
    const struct net_shape *s = &r->net->shape;
    if (!b->n || b->n > NET_TOKENS_MAX)
        return fail(TACIT_LIMIT, "a batch of %zu tokens; 1 to %d", b->n,
                    NET_TOKENS_MAX);
    if (!op_segments_fit(&b->segments, b->n))
        return fail(TACIT_SHAPE, "the sequences do not cover the %zu tokens",
                    b->n);
    if (!b->cache) return TACIT_OK;
    if (r->grad || !net_is_decoder(r->net))
        return fail(TACIT_STATE, "only a decoder that infers has a cache");
    for (size_t i = 0; i < b->segments.n; i++) {
        const struct kv_shape *c = kv_shape(b->cache[i]);
        if (c->layers != s->layers || c->heads != s->kv_heads ||
            c->width != s->head_width || (c->window && c->window != s->window))
            return fail(TACIT_SHAPE, "a cache of another network");
    }
    return TACIT_OK;
}

static const uint32_t *places(struct tape *t, const struct net_batch *b)
{
    if (b->position) return b->position;
    uint32_t *p = tape_raw(t, b->n, sizeof *p);
    for (size_t i = 0; p && i < b->segments.n; i++) {
        size_t past = b->cache ? kv_n(b->cache[i]) : 0;
        for (size_t k = b->segments.start[i]; k < b->segments.start[i + 1]; k++)
            p[k] = (uint32_t)(past + k - b->segments.start[i]);
    }
    return p;
}

static struct var *embed(const struct pass *p)
{
    const struct net_run *r = p->run;
    const struct net *n = r->net;
    const struct net_batch *b = p->batch;
    struct op_matrix tokens = matrix_of(r, &n->tokens);
    struct var *h = op_lookup(r->tape, &tokens, b->token, b->n);
    if (n->places.w.rows) h = lookup(r, &n->places, p->position, h);
    if (n->types.w.rows) {
        const uint32_t *type = b->type;
        if (!type) type = tape_scratch(r->tape, b->n, sizeof *type);
        if (!type) return NULL;
        h = lookup(r, &n->types, type, h);
    }
    return n->before.gain.rows ? norm(r, h, &n->before) : h;
}

/* Sequences [first, end) go through all layers, in passing, before others do:
 * what a layer makes of them is in the cache when the next one wants it. */
static void slab_by(const struct pass *p, size_t first, size_t end,
                    const struct var *h)
{
    struct tape *t = p->run->tape;
    const struct net *net = p->run->net;
    const struct net_batch *all = p->batch;
    uint32_t *start = tape_raw(t, end - first + 1, sizeof *start);
    size_t from = all->segments.start[first];
    struct pass slab = *p;
    struct net_batch b = *all;
    if (!start) return;
    for (size_t i = first; i <= end; i++)
        start[i - first] = all->segments.start[i] - (uint32_t)from;
    b.segments = (struct op_segments){start, end - first};
    b.n = start[end - first];
    slab.batch = &b;
    slab.position = p->position + from;
    if (p->turns && b.n < all->n)
        slab.turns = op_turns_new(t, &net->shape.rope, slab.position, b.n);
    struct var *rows = tape_constant(t, h->v + from * h->cols, b.n, h->cols);
    for (size_t i = 0; !t->err && i < net->shape.layers; i++)
        pass_by(&slab, i, rows, rows);
}

/* Whole sequences, as many together as a second cache holds; as many for any
 * number of threads. */
static struct var *slabs(const struct pass *p, struct var *h)
{
    const struct op_segments *s = &p->batch->segments;
    size_t most = p->batch->cache ? p->batch->n : SLAB_TOKENS;
    for (size_t first = 0, end; first < s->n; first = end) {
        end = first + 1;
        while (end < s->n && s->start[end + 1] - s->start[first] <= most) end++;
        slab_by(p, first, end, h);
    }
    return h;
}

static struct var *blocks(const struct pass *p, struct var *h)
{
    const struct net_run *r = p->run;
    size_t n = r->net->shape.layers;
    if (r->grad && r->net->trains_blocks) {
        size_t first_kept = r->again && r->keep < n ? n - r->keep : 0;
        for (size_t i = 0; i < n; i++)
            h = i < first_kept ? block_again(p, i, h, i + 1 == first_kept)
                               : block(p, i, h);
        return h;
    }
    return slabs(p, h);
}

/* A few tokens each: rows that have the bits they would have alone. What is
 * trained, and where it then runs, keeps f32. */
static enum weight_rows rows_of(const struct net *n, const struct net_batch *b)
{
    enum weight_rows many =
        n->params.n_flat ? WEIGHT_ROWS_FAST : WEIGHT_ROWS_SPLIT;
    for (size_t i = 0; b->cache && i < b->segments.n; i++)
        if (b->segments.start[i + 1] - b->segments.start[i] > NET_STEPS_MAX)
            return many;
    return b->cache ? WEIGHT_ROWS_ALIKE : many;
}

struct var *net_hidden(const struct net_run *r, const struct net_batch *b)
{
    struct tape *t = r->tape;
    const struct net *n = r->net;
    if (!t->err) t->err = check_batch(r, b);
    if (t->err) return NULL;
    t->rows = rows_of(n, b);
    struct pass p = {.run = r, .batch = b, .position = places(t, b)};
    if (!p.position) return NULL;
    if (n->shape.rope.dims)
        p.turns = op_turns_new(t, &n->shape.rope, p.position, b->n);
    struct var *h = embed(&p);
    if (!h) return NULL;
    h = blocks(&p, h);
    if (n->last.gain.rows) h = norm(r, h, &n->last);
    if (t->err) return NULL;
    for (size_t i = 0; b->cache && i < b->segments.n; i++)
        kv_advance(b->cache[i],
                   b->segments.start[i + 1] - b->segments.start[i]);
    return h;
}

/* ---- heads ---- */

static int predicts(const struct net_run *r)
{
    if (!r->tape->err && !net_is_decoder(r->net))
        r->tape->err = fail(TACIT_STATE, "an encoder predicts no next token");
    return !r->tape->err;
}

struct var *net_logits(const struct net_run *r, struct var *hidden,
                       const uint32_t *row, size_t n_rows)
{
    if (!predicts(r) || !hidden) return NULL;
    if (row)
        hidden =
            op_lookup(r->tape, &(struct op_matrix){.w = hidden}, row, n_rows);
    return project(r, hidden, &r->net->output);
}

struct var *net_lm_loss(const struct net_run *r, struct var *hidden,
                        const struct op_labels *labels)
{
    return net_taught_loss(r, hidden, labels, NULL);
}

struct var *net_taught_loss(const struct net_run *r, struct var *hidden,
                            const struct op_labels *labels,
                            const struct op_teacher *teacher)
{
    if (!predicts(r)) return NULL;
    struct op_matrix m = matrix_of(r, &r->net->output);
    return op_head_ce(r->tape, hidden, &m, labels, teacher);
}

struct var *net_embedding(const struct net_run *r, struct var *hidden,
                          const struct op_segments *s)
{
    return op_normalise(r->tape,
                        op_pool(r->tape, hidden, s, r->net->shape.pooling));
}

struct var *net_pooled(const struct net_run *r, struct var *hidden,
                       const struct op_segments *s)
{
    const struct net *n = r->net;
    if (!n->pooler.w.rows) return op_pool(r->tape, hidden, s, n->shape.pooling);
    struct var *first = op_pool(r->tape, hidden, s, POOL_FIRST);
    return op_tanh(r->tape, project(r, first, &n->pooler));
}

struct var *net_classes(const struct net_run *r, struct var *hidden,
                        const struct op_segments *s)
{
    if (!r->tape->err && !r->net->shape.outputs)
        r->tape->err = fail(TACIT_STATE, "the model file has no head");
    if (r->tape->err) return NULL;
    return project(r, net_pooled(r, hidden, s), &r->net->classes);
}

struct var *net_outputs(const struct net_run *r, struct var *rows)
{
    if (!r->tape->err && !r->net->head.w.rows)
        r->tape->err = fail(TACIT_STATE, "the network has no head");
    return r->tape->err ? NULL : project(r, rows, &r->net->head);
}
