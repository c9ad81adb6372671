#include "common/tensor/tape.h"

#include <stdlib.h>

#include "common/tensor/weights.h"

enum { FIRST_ROOM = 64 };

void tape_init(struct tape *t, size_t limit_bytes)
{
    *t = (struct tape){0};
    arena_init(&t->arena, limit_bytes);
    arena_init(&t->passing, limit_bytes);
}

void tape_release(struct tape *t)
{
    arena_release(&t->arena);
    arena_release(&t->passing);
    weight_room_free(t->room);
    t->room = NULL;
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

static struct arena *memory(struct tape *t)
{
    return t->in_passing ? &t->passing : &t->arena;
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
    struct var *x = tape_scratch(t, 1, sizeof *x);
    if (x) *x = (struct var){rows, cols, v, grad};
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
    float *g = needs_grad ? tape_scratch(t, rows * cols, sizeof *g) : NULL;
    return t->err ? NULL : view(t, v, g, rows, cols);
}

struct weight_room *tape_room(struct tape *t)
{
    if (!t->err && !t->room) t->err = weight_room_new(&t->room, t->pool);
    if (!t->err) weight_room_back_in(t->room, t->numbers);
    return t->err ? NULL : t->room;
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
    loss->grad[0] = 1;
    return tape_backward_from(t);
}

enum tacit_err tape_backward_from(struct tape *t)
{
    for (size_t i = t->n_nodes; i-- > 0 && !t->err;)
        t->nodes[i].backward(&t->nodes[i]);
    return t->err;
}
