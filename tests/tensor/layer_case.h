/*
 * layer_case: an op of up to five inputs whose gradients are compared with
 * finite differences. Included by the tests of ops, which have a table of them.
 */
#ifndef TACIT_TESTS_TENSOR_LAYER_CASE_H
#define TACIT_TESTS_TENSOR_LAYER_CASE_H

#include "tests/check.h"

#include <string.h>

#include "common/base/rng.h"
#include "common/tensor/ops.h"
#include "tests/gradcheck.h"

enum { LAYER_FLAT = 4096, LAYER_INPUTS_MAX = 5 };

static struct var *constant(struct tape *t, const float *v, size_t rows,
                            size_t cols)
{
    float *copy = tape_scratch(t, rows * cols, sizeof *copy);
    if (!copy) return NULL;
    memcpy(copy, v, rows * cols * sizeof *copy);
    return tape_constant(t, copy, rows, cols);
}

struct layer_case {
    const char *name;
    size_t size[LAYER_INPUTS_MAX][2]; /* of the inputs; 0 = no more */
    struct var *(*apply)(struct tape *t, struct var *const *in);
};

struct scene {
    const struct layer_case *layer;
    struct tape tape;
    float w[LAYER_FLAT], g[LAYER_FLAT], u[LAYER_FLAT];
    int fixed; /* input that is a constant; -1 none */
};

/* sum_i u_i out_i with fixed u, so that every output counts differently. */
static struct var *build(struct scene *s)
{
    struct var *in[LAYER_INPUTS_MAX] = {0};
    struct tape *t = &s->tape;
    size_t at = 0;
    for (int i = 0; i < LAYER_INPUTS_MAX && s->layer->size[i][0]; i++) {
        size_t rows = s->layer->size[i][0], cols = s->layer->size[i][1];
        in[i] = i == s->fixed
                    ? tape_constant(t, s->w + at, rows, cols)
                    : tape_parameter(t, s->w + at, s->g + at, rows, cols);
        at += rows * cols;
    }
    struct var *out = s->layer->apply(t, in);
    check_ok(t->err);
    check(out->rows + out->cols <= LAYER_FLAT);
    if (out->rows == 1 && out->cols == 1) return out;
    struct var *right = op_matmul(t, out, constant(t, s->u, out->cols, 1));
    return op_matmul(t, constant(t, s->u + out->cols, 1, out->rows), right);
}

static enum tacit_err loss_now(void *ctx, double *loss)
{
    struct scene *s = ctx;
    tape_reset(&s->tape);
    *loss = (double)build(s)->v[0];
    return s->tape.err;
}

static void check_gradient(const struct layer_case *c, int fixed)
{
    static struct scene s;
    struct rng r;
    memset(&s, 0, sizeof s);
    s.layer = c;
    s.fixed = fixed;
    rng_init(&r, 12, c->size[0][1], 0);
    for (size_t i = 0; i < LAYER_FLAT; i++) {
        s.w[i] = rng_normal(&r);
        s.u[i] = rng_normal(&r) / 2;
    }
    tape_init(&s.tape, 0);
    check_ok(tape_backward(&s.tape, build(&s)));
    size_t at = 0;
    for (int i = 0; i < LAYER_INPUTS_MAX && c->size[i][0]; i++) {
        size_t n = c->size[i][0] * c->size[i][1];
        double worst = 0;
        if (i == fixed)
            for (size_t k = at; k < at + n; k++) check(s.g[k] == 0);
        else
            check_ok(gradcheck_run(loss_now, &s, s.w + at, s.g + at, n, 2e-3,
                                   &worst));
        if (worst > 5e-3)
            fail_msg("%s, input %d: off by %g", c->name, i, worst);
        at += n;
    }
    tape_release(&s.tape);
}

#endif
