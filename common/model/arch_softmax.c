/* Softmax regression: x w^T + b, a row of w per class. */
#include <math.h>

#include "common/model/arch.h"
#include "common/tensor/kernels.h"
#include "common/tensor/maps.h"
#include "common/tensor/ops.h"

enum tacit_err arch_softmax_layout(const struct model_spec *s, struct params *p)
{
    TRY(arch_no_hidden(s));
    if (s->classes < 2)
        return fail(TACIT_LIMIT,
                    "a softmax model of %u classes; it takes two "
                    "or more (model: classes)",
                    s->classes);
    return arch_add_linear_rows(p, "layer0", s->n_inputs, s->classes);
}

/* Input by input, as the other dense models are drawn. */
void arch_softmax_init(const struct model_spec *s, struct params *p,
                       struct rng *r)
{
    float *w = params_data(p, &p->list[0]);
    float bound = 1 / sqrtf((float)s->n_inputs);
    for (size_t i = 0; i < s->n_inputs; i++)
        for (size_t c = 0; c < s->classes; c++)
            w[c * s->n_inputs + i] = (2 * rng_f32(r) - 1) * bound;
    arch_uniform(p, &p->list[1], bound, r);
}

struct var *arch_softmax_forward(const struct model_spec *s, struct tape *t,
                                 struct var *const *v, const struct batch *b)
{
    return op_linear_rows(t, tape_constant(t, b->x, b->n, s->n_inputs), v[0],
                          v[1]);
}

/* ---- a step in one go ---- */

static void turn(float *out, const float *in, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) out[c * rows + r] = in[r * cols + c];
}

/* What a step works with; all in the tape's memory. */
struct work {
    ptrdiff_t *row; /* [n] where each row of x begins */
    float *turned;  /* [classes, n]: logits, then their gradient */
    float *bias;    /* [classes] its gradient */
    struct var *z;  /* [n, classes] logits, with a gradient */
};

static enum tacit_err work_new(struct tape *t, size_t classes, size_t n,
                               struct work *out)
{
    out->row = tape_raw(t, n, sizeof *out->row);
    out->turned = tape_raw(t, classes * n, sizeof *out->turned);
    out->bias = tape_scratch(t, classes, sizeof *out->bias);
    out->z = tape_value(t, n, classes, 1);
    return t->err;
}

/* Forward as op_linear_rows(), but over the rows where they lie; the loss is
 * the op; then dw = dz^T x on its way into w. */
enum tacit_err arch_softmax_descend(const struct model_spec *s, struct tape *t,
                                    struct params *p,
                                    const struct arch_step *step, float *loss)
{
    size_t n = step->n, k = s->n_inputs, classes = s->classes;
    float *w = params_data(p, &p->list[0]), *b = params_data(p, &p->list[1]);
    uint32_t *y;
    struct work x;
    TRY(batch_classes(t, s, step->ex, step->idx, n, &y));
    TRY(work_new(t, classes, n, &x));
    for (size_t i = 0; i < n; i++) x.row[i] = (ptrdiff_t)(step->idx[i] * k);
    for (size_t c = 0; c < classes; c++)
        for (size_t i = 0; i < n; i++) x.turned[c * n + i] = b[c];
    struct kernel_window window = {.rows = classes,
                                   .n_offsets = n,
                                   .n_points = k,
                                   .a = w,
                                   .a_row = k,
                                   .b = step->ex->x,
                                   .offset = x.row,
                                   .c = x.turned,
                                   .c_row = n,
                                   .n_images = 1,
                                   .ahead = t->ahead};
    kernel_reduce(&window);
    turn(x.z->v, x.turned, classes, n);
    struct var *l = op_softmax_ce(t, x.z, y);
    TRY(tape_backward(t, l));
    turn(x.turned, x.z->grad, n, classes);
    window.a = x.turned;
    window.a_row = n;
    window.c = w;
    window.c_row = k;
    window.rate = step->rate;
    window.decay = step->decay;
    kernel_descend(&window);
    map_add_rows(x.bias, x.z->grad, n, classes);
    for (size_t c = 0; c < classes; c++)
        b[c] -= step->rate * (x.bias[c] + step->decay * b[c]);
    *loss = l->v[0];
    return TACIT_OK;
}
