#include "common/tensor/tape.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/tensor/weights.h"

enum {
    FIRST_ROOM = 64,
    ALIGN = 64,
    SPARE = 8 /* a buffer serves gradients down to this part of it */
};

struct tape_buffer {
    float *data;  /* owned */
    size_t bytes; /* a multiple of ALIGN */
    int busy;
};

/* What a gradient is between forward and back: there, without numbers. */
static float wanted[1];

void tape_init(struct tape *t, size_t limit_bytes)
{
    *t = (struct tape){.limit_bytes = limit_bytes};
    arena_init(&t->arena, 0);
    arena_init(&t->passing, 0);
}

void tape_release(struct tape *t)
{
    arena_release(&t->arena);
    arena_release(&t->passing);
    weight_room_free(t->room);
    t->room = NULL;
    for (size_t i = 0; i < t->n_buffers; i++) free(t->buffers[i].data);
    free(t->buffers);
    t->buffers = NULL;
    t->n_buffers = t->buffer_room = t->buffer_bytes = 0;
    free(t->shared);
    t->shared = NULL;
    t->shared_bytes = 0;
    free(t->nodes);
    t->nodes = NULL;
    t->n_nodes = t->n_room = 0;
}

void tape_reset(struct tape *t)
{
    /* Let the arena settle on one block that holds a whole step. */
    arena_reset(&t->arena);
    t->arena.used_bytes = 0;
    tape_pass_end(t);
    for (size_t i = 0; i < t->n_buffers; i++) t->buffers[i].busy = 0;
    t->n_nodes = 0;
    t->err = TACIT_OK;
    t->ahead = NULL;
}

void tape_pass_begin(struct tape *t)
{
    t->in_passing = 1;
}

void tape_pass_end(struct tape *t)
{
    arena_reset(&t->passing);
    t->passing.used_bytes = 0;
    t->in_passing = 0;
}

enum tacit_err tape_reserve(struct tape *t, size_t bytes)
{
    return arena_reserve(&t->arena, bytes);
}

enum tacit_err tape_reserve_pass(struct tape *t, size_t bytes)
{
    return arena_reserve(&t->passing, bytes);
}

size_t tape_bytes(const struct tape *t)
{
    return t->arena.used_bytes + t->passing.used_bytes + t->buffer_bytes;
}

static struct arena *memory(struct tape *t)
{
    struct arena *a = t->in_passing ? &t->passing : &t->arena;
    if (!t->limit_bytes) return a;
    size_t others = tape_bytes(t) - a->used_bytes;
    a->limit_bytes = others < t->limit_bytes ? t->limit_bytes - others : 1;
    return a;
}

void *tape_scratch(struct tape *t, size_t n, size_t size)
{
    void *p = NULL;
    if (!t->err) t->err = arena_alloc(memory(t), n, size, &p);
    return t->err ? NULL : p;
}

void *tape_raw(struct tape *t, size_t n, size_t size)
{
    void *p = NULL;
    if (!t->err) t->err = arena_alloc_raw(memory(t), n, size, &p);
    return t->err ? NULL : p;
}

static struct var *view(struct tape *t, float *v, float *grad, size_t rows,
                        size_t cols)
{
    struct var *x = tape_raw(t, 1, sizeof *x);
    if (x) *x = (struct var){.rows = rows, .cols = cols, .v = v, .grad = grad};
    return x;
}

struct var *tape_constant(struct tape *t, float *v, size_t rows, size_t cols)
{
    return view(t, v, NULL, rows, cols);
}

struct var *tape_parameter(struct tape *t, float *v, float *grad, size_t rows,
                           size_t cols)
{
    return view(t, v, grad, rows, cols);
}

struct var *tape_value(struct tape *t, size_t rows, size_t cols, int needs_grad)
{
    if (needs_grad && t->in_passing && !t->err)
        t->err = fail(TACIT_STATE, "a gradient of what passes");
    float *v = tape_raw(t, rows * cols, sizeof *v);
    struct var *x =
        t->err ? NULL : view(t, v, needs_grad ? wanted : NULL, rows, cols);
    if (x) x->lent = needs_grad;
    return x;
}

struct var *tape_value_over(struct tape *t, const struct var *y, int needs_grad)
{
    if (needs_grad && t->in_passing && !t->err)
        t->err = fail(TACIT_STATE, "a gradient of what passes");
    if (t->err) return NULL;
    struct var *x = view(t, y->v, needs_grad ? wanted : NULL, y->rows, y->cols);
    if (x) x->lent = needs_grad;
    return x;
}

/* ---- gradients that go round ---- */

/* The free buffer that fits best, else the largest free one of a fitting order;
 * n_buffers: there is none. */
static size_t best_buffer(const struct tape *t, size_t bytes)
{
    size_t best = t->n_buffers;
    for (size_t i = 0; i < t->n_buffers; i++) {
        const struct tape_buffer *b = &t->buffers[i];
        const struct tape_buffer *than =
            best < t->n_buffers ? &t->buffers[best] : NULL;
        if (b->busy || b->bytes / SPARE > bytes || bytes / SPARE > b->bytes)
            continue;
        int fits = b->bytes >= bytes, fitted = than && than->bytes >= bytes;
        if (!than || (fits && !fitted) ||
            (fits && fitted && b->bytes < than->bytes) ||
            (!fits && !fitted && b->bytes > than->bytes))
            best = i;
    }
    return best;
}

static enum tacit_err more_buffers(struct tape *t)
{
    if (t->n_buffers < t->buffer_room) return TACIT_OK;
    size_t room = t->buffer_room ? 2 * t->buffer_room : 16;
    struct tape_buffer *more = realloc(t->buffers, room * sizeof *more);
    if (!more) return fail(TACIT_NOMEM, "out of memory for %zu buffers", room);
    t->buffers = more;
    t->buffer_room = room;
    return TACIT_OK;
}

static enum tacit_err new_data(struct tape *t, struct tape_buffer *b,
                               size_t bytes)
{
    size_t others = tape_bytes(t) - b->bytes;
    if (t->limit_bytes &&
        (others > t->limit_bytes || bytes > t->limit_bytes - others))
        return fail(TACIT_LIMIT, "over this task's limit of %zu bytes",
                    t->limit_bytes);
    free(b->data);
    t->buffer_bytes -= b->bytes;
    b->bytes = 0;
    b->data = aligned_alloc(ALIGN, bytes);
    if (!b->data)
        return fail(TACIT_NOMEM, "out of memory for a gradient of %zu bytes",
                    bytes);
    b->bytes = bytes;
    t->buffer_bytes += bytes;
    return TACIT_OK;
}

void *tape_shared(struct tape *t, size_t bytes)
{
    struct tape_buffer b = {.data = t->shared, .bytes = t->shared_bytes};
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (t->err || b.bytes >= bytes) return t->err ? NULL : b.data;
    t->err = new_data(t, &b, bytes);
    t->shared = b.data;
    t->shared_bytes = b.bytes;
    return t->err ? NULL : t->shared;
}

static enum tacit_err lend(struct tape *t, struct var *x)
{
    if (x->grad != wanted) return TACIT_OK;
    size_t n = x->rows * x->cols * sizeof *x->grad;
    size_t bytes = (n + ALIGN - 1) / ALIGN * ALIGN;
    if (!bytes) bytes = ALIGN;
    size_t i = best_buffer(t, bytes);
    if (i == t->n_buffers) {
        TRY(more_buffers(t));
        t->buffers[t->n_buffers++] = (struct tape_buffer){0};
    }
    struct tape_buffer *b = &t->buffers[i];
    if (b->bytes < bytes) TRY(new_data(t, b, bytes));
    b->busy = 1;
    x->grad = b->data;
    x->fresh = 1;
    return TACIT_OK;
}

enum gemm_mode tape_mode(struct var *x)
{
    enum gemm_mode mode = x->fresh ? GEMM_SET : GEMM_ADD;
    x->fresh = 0;
    return mode;
}

/* The gradients that a node adds to. */
static enum tacit_err lend_inputs(struct tape *t, const struct tape_node *n)
{
    for (size_t k = 0; k < TAPE_INPUTS_MAX; k++) {
        struct var *x = n->in[k];
        if (!x || !x->grad) continue;
        TRY(lend(t, x));
        assert(x->grad);
        if (!(n->sets >> k & 1) && tape_mode(x) == GEMM_SET)
            memset(x->grad, 0, x->rows * x->cols * sizeof *x->grad);
    }
    return TACIT_OK;
}

static void take_back(struct tape *t, struct var *x)
{
    for (size_t i = 0; x->lent && i < t->n_buffers; i++)
        if (t->buffers[i].data == x->grad) t->buffers[i].busy = 0;
    if (x->lent) x->grad = wanted;
}

struct weight_room *tape_room(struct tape *t)
{
    if (!t->err && !t->room) t->err = weight_room_new(&t->room, t->pool);
    if (t->err) return NULL;
    weight_room_back_in(t->room, t->numbers);
    weight_room_rows(t->room, t->rows);
    return t->room;
}

static enum tacit_err grow(struct tape *t)
{
    size_t room = t->n_room ? 2 * t->n_room : FIRST_ROOM;
    if (t->n_nodes == TAPE_NODES_MAX)
        return fail(TACIT_LIMIT, "more than %d operations on a tape",
                    TAPE_NODES_MAX);
    struct tape_node *nodes = realloc(t->nodes, room * sizeof *nodes);
    if (!nodes)
        return fail(TACIT_NOMEM, "out of memory for %zu operations", room);
    t->nodes = nodes;
    t->n_room = room;
    return TACIT_OK;
}

void tape_record(struct tape *t, const struct tape_node *node)
{
    if (t->err || !node->out->grad) return;
    if (t->n_nodes == t->n_room) t->err = grow(t);
    if (t->err) return;
    t->nodes[t->n_nodes++] = *node;
}

struct var *tape_refuse(struct tape *t, const char *op, const struct var *a,
                        const struct var *b)
{
    if (!t->err)
        t->err = fail(TACIT_SHAPE, "%s of %zux%zu and %zux%zu", op, a->rows,
                      a->cols, b->rows, b->cols);
    return NULL;
}

enum tacit_err tape_backward(struct tape *t, struct var *loss)
{
    if (t->err) return t->err;
    if (loss->rows != 1 || loss->cols != 1)
        return fail(TACIT_SHAPE, "a loss is %zux%zu, want 1x1", loss->rows,
                    loss->cols);
    if (!loss->grad) return TACIT_OK; /* nothing depends on a parameter */
    TRY(lend(t, loss));
    loss->grad[0] = 1;
    loss->fresh = 0;
    return tape_backward_from(t);
}

enum tacit_err tape_backward_from(struct tape *t)
{
    for (size_t i = t->n_nodes; i-- > 0 && !t->err;) {
        const struct tape_node *n = &t->nodes[i];
        /* Nothing that came after it has a part in the loss. */
        if (n->out->grad == wanted) continue;
        t->err = lend_inputs(t, n);
        if (t->err) break;
        n->backward(n);
        take_back(t, n->out);
    }
    return t->err;
}
