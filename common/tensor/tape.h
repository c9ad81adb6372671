/*
 * tape: reverse-mode differentiation. Operations run at once and leave a node
 * where a gradient is needed; tape_backward() walks the nodes from the last to
 * the first and adds each node's contribution to the gradients of its inputs.
 *
 *   x ──matmul(W)──> h ──tanh──> t ──matmul(V)──> z ──bce(y)──> loss
 *        dW, dx <──────── dh <────── dt, dV <────── dz <──────── 1
 *
 * Values are matrices [rows, cols], f32, in an arena that is reset per step:
 * nothing is allocated from the heap inside a training step once the arena has
 * grown. Gradients of values have memory from the first node that adds to them
 * to the one that made the value: few are there at a time, in buffers that go
 * round. Ops stand in ops.h. One thread per tape; an op may use the workers of
 * its pool, and gives the same bits for any number of them.
 */
#ifndef TACIT_TENSOR_TAPE_H
#define TACIT_TENSOR_TAPE_H

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/tensor/kernels.h"
#include "common/tensor/weights.h"

struct pool;

enum { TAPE_NODES_MAX = 1 << 16, TAPE_INPUTS_MAX = 5 };

/* A value; grad is NULL where none is needed. Both [rows, cols], arena or
 * borrowed. A gradient that is `lent` by the tape has numbers in it on the way
 * back alone: ops that make values ask whether there is one, no more. */
struct var {
    size_t rows, cols;
    float *v;
    float *grad;
    int lent;
    int fresh; /* nothing has been added to a lent gradient: see tape_mode() */
};

struct tape;
struct tape_node {
    struct var *out;
    struct var *in[TAPE_INPUTS_MAX];
    const void *extra; /* op's own data, arena or borrowed */
    float scalar;
    /* Adds to in[]->grad from out->grad; bit k of `sets`: to that of in[k] as
     * tape_mode() says. */
    void (*backward)(const struct tape_node *node);
    unsigned sets;
};

struct tape_buffer;
struct tape {
    struct arena arena;
    struct arena passing; /* between tape_pass_begin() and tape_pass_end() */
    int in_passing;
    struct tape_node *nodes; /* [n_room], owned; grows and is kept */
    size_t n_nodes, n_room;
    struct tape_buffer *buffers; /* [n_buffers] of gradients, owned */
    size_t n_buffers, buffer_room;
    size_t buffer_bytes;
    void *shared; /* [shared_bytes], owned; counted with the buffers */
    size_t shared_bytes;
    size_t limit_bytes; /* of all of it; 0: none */
    struct pool *pool;  /* borrowed: for ops that run in parallel; or NULL. Set
                          before the first op. */
    /* Of the products with matrices, forward where they are trained, and back:
     * GEMM_BF16 makes training faster where the processor has it. Set before
     * the first op. */
    enum gemm_numbers numbers;
    enum weight_rows rows;    /* of products forward: weights.h */
    struct weight_room *room; /* owned; see tape_room() */
    enum tacit_err err;       /* sticky: the first failure of an op */
    /* As many floats as the inputs of this step have, wanted after them; NULL:
     * none. An op that can fetches them while it computes. */
    const float *ahead;
};

/* LIMIT sticks in the tape when values and gradients want more than this; 0: no
 * limit. */
void tape_init(struct tape *t, size_t limit_bytes);
void tape_release(struct tape *t);
/* Room at once for a step whose values take so many bytes. NOMEM. */
TACIT_CHECKED enum tacit_err tape_reserve(struct tape *t, size_t bytes);
/* The same for what passes. */
TACIT_CHECKED enum tacit_err tape_reserve_pass(struct tape *t, size_t bytes);
/* Bytes of values and gradients now; memory that was larger before is kept. */
size_t tape_bytes(const struct tape *t);
/* Forget all values and nodes; keeps the memory. */
void tape_reset(struct tape *t);
/* What ops make from here on is forgotten at the end of the pass, one layer of
 * a network that only infers, so that all layers share the memory of one.
 * Nothing made inside may have a gradient (STATE). Passes do not nest. */
void tape_pass_begin(struct tape *t);
void tape_pass_end(struct tape *t);
/* A constant that borrows v [rows, cols]. NULL after an error. */
struct var *tape_constant(struct tape *t, float *v, size_t rows, size_t cols);
/* A parameter: value and gradient are borrowed; backward adds into grad. */
struct var *tape_parameter(struct tape *t, float *v, float *grad, size_t rows,
                           size_t cols);
/* For ops: a fresh value to be written whole; with needs_grad, one whose
 * gradient is zeroed and lent on the way back. Of a value that no node has made
 * it stays until the tape is reset. */
struct var *tape_value(struct tape *t, size_t rows, size_t cols,
                       int needs_grad);
/* For ops: the same in the memory of y, whose numbers are lost. */
struct var *tape_value_over(struct tape *t, const struct var *y,
                            int needs_grad);
/* For ops: n items of `size` bytes, zeroed; tape_raw: with anything in them. */
void *tape_scratch(struct tape *t, size_t n, size_t size);
void *tape_raw(struct tape *t, size_t n, size_t size);
/* For ops: bytes, aligned, that every op of the tape may write to in one call,
 * forward or back, and whose content the next loses. NULL after an error. */
void *tape_shared(struct tape *t, size_t bytes);
/* For ops: where products with frozen matrices run (weights.h), made when it is
 * first asked for. NULL after an error. */
struct weight_room *tape_room(struct tape *t);
/* For ops: record; a no-op when out has no gradient. */
void tape_record(struct tape *t, const struct tape_node *node);
/* For ops: SHAPE, naming the op and what does not fit. Returns NULL. */
struct var *tape_refuse(struct tape *t, const char *op, const struct var *a,
                        const struct var *b);
/* For ops whose node says so, on the way back: whether to x's gradient is added
 * (GEMM_ADD), or whatever is in its memory replaced. */
enum gemm_mode tape_mode(struct var *x);
/* The recorded error of an op, or gradients of the scalar loss [1, 1]. */
TACIT_CHECKED enum tacit_err tape_backward(struct tape *t, struct var *loss);
/* The same walk from values whose gradients the caller has set. */
TACIT_CHECKED enum tacit_err tape_backward_from(struct tape *t);

#endif
