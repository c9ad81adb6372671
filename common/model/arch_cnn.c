/*
 * The convolutional network after LeNet-5 (LeCun et al. 1998), with ReLU and
 * maxima as is usual today:
 *
 *   image ─conv 5x5 (padding 2)─[norm]─relu─pool─conv 5x5─[norm]─relu─pool─┐
 *      classes <─ dense ─ relu ─ dense … <──────────── flat ───────────────┘
 *
 * hidden = two channel counts, then the dense widths. Group norm takes two
 * groups where the channels are even (Hsieh et al. 2020), else one.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/model/arch.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_conv.h"
#include "common/tensor/ops_norm.h"

enum { SIDE = 5, N_CONVS = 2, CHANNELS_MAX = 1024, PIXELS_MAX = 1 << 20 };
enum norm { NORM_NONE, NORM_BATCH, NORM_GROUP };

static int norm_find(const char *name, enum norm *out)
{
    static const char *const names[] = {"none", "batch", "group"};
    *out = NORM_NONE;
    for (int i = 0; name && name[0] && i < 3; i++) {
        *out = (enum norm)i;
        if (strcmp(name, names[i]) == 0) return 1;
    }
    return !name || !name[0];
}

/* Convolution i: its input and, with its tail, what comes out. */
static struct op_conv conv_of(const struct model_spec *s, size_t i,
                              struct op_image *out)
{
    struct op_conv c = {.in = {s->channels, s->height, s->width},
                        .side = SIDE,
                        .padding = 2,
                        .tail = OP_RELU_POOL};
    *out = op_conv_size(&c, s->hidden[0]);
    if (i == 0) return c;
    c.in = *out;
    c.padding = 0;
    *out = op_conv_size(&c, s->hidden[1]);
    return c;
}

static enum tacit_err check_spec(const struct model_spec *s)
{
    enum norm norm;
    struct op_image out;
    if (s->n_hidden < N_CONVS)
        return fail(TACIT_LIMIT,
                    "a cnn needs the channels of its two convolutions (model: "
                    "hidden: [6, 16, 120, 84])");
    if (!s->channels || !s->height || !s->width || s->channels > CHANNELS_MAX ||
        s->height > PIXELS_MAX || s->width > PIXELS_MAX / s->height)
        return fail(TACIT_LIMIT,
                    "images of %u x %u pixels in %u channels; a cnn takes 1 to "
                    "%d pixels in 1 to %d channels",
                    s->height, s->width, s->channels, PIXELS_MAX, CHANNELS_MAX);
    for (size_t i = 0; i < N_CONVS; i++)
        if (!s->hidden[i] || s->hidden[i] > CHANNELS_MAX)
            return fail(TACIT_LIMIT, "a convolution of %u channels; 1 to %d",
                        s->hidden[i], CHANNELS_MAX);
    conv_of(s, 1, &out);
    if (!out.height || !out.width)
        return fail(TACIT_SHAPE,
                    "images of %u x %u are too small for a cnn; 12 x 12 is the "
                    "least",
                    s->height, s->width);
    if (!norm_find(s->norm, &norm))
        return fail(TACIT_UNSUPPORTED,
                    "norm \"%.20s\"; there are none, batch and group", s->norm);
    return TACIT_OK;
}

static enum tacit_err add_norm(struct params *p, enum norm norm, size_t i,
                               size_t channels)
{
    static const char *const parts[] = {"gain", "bias", "mean", "var"};
    const size_t dims[] = {channels};
    for (size_t k = 0; norm && k < (norm == NORM_BATCH ? 4 : 2); k++) {
        char name[PARAMS_NAME_MAX];
        snprintf(name, sizeof name, "%s%zu.%s",
                 norm == NORM_BATCH ? "bn" : "gn", i, parts[k]);
        TRY(k < 2 ? params_add(p, name, dims, 1)
                  : params_add_statistic(p, name, dims, 1));
    }
    return TACIT_OK;
}

enum tacit_err arch_cnn_layout(const struct model_spec *s, struct params *p)
{
    enum norm norm;
    struct op_image out;
    char name[PARAMS_NAME_MAX];
    TRY(check_spec(s));
    norm_find(s->norm, &norm);
    for (size_t i = 0; i < N_CONVS; i++) {
        struct op_conv c = conv_of(s, i, &out);
        const size_t w[] = {out.channels, c.in.channels, SIDE, SIDE};
        snprintf(name, sizeof name, "conv%zu.w", i);
        TRY(params_add(p, name, w, 4));
        snprintf(name, sizeof name, "conv%zu.b", i);
        TRY(params_add(p, name, w, 1));
        TRY(add_norm(p, norm, i, out.channels));
    }
    size_t in = out.channels * out.height * out.width;
    for (size_t i = N_CONVS; i <= s->n_hidden; i++) {
        size_t to = i < s->n_hidden ? s->hidden[i] : arch_outputs(s);
        snprintf(name, sizeof name, "layer%zu", i - N_CONVS);
        TRY(arch_add_linear(p, name, in, to));
        in = to;
    }
    return TACIT_OK;
}

void arch_cnn_init(const struct model_spec *s, struct params *p, struct rng *r)
{
    float bound = 0;
    (void)s;
    for (size_t i = 0; i < p->n_params; i++) {
        const struct param *t = &p->list[i];
        if (t->name[1] == 'n') { /* bn, gn */
            arch_fill(p, t,
                      strstr(t->name, ".gain") || strstr(t->name, ".var"));
            continue;
        }
        /* A bias follows its weights and shares their bound. */
        if (t->n_dims == 4)
            bound = 1 / sqrtf((float)(t->dims[1] * t->dims[2] * t->dims[3]));
        else if (t->n_dims == 2)
            bound = 1 / sqrtf((float)t->dims[0]);
        arch_uniform(p, t, bound, r);
    }
}

/* Norm, ReLU and pool of a plain convolution's output. */
static struct var *norm_tail(struct tape *t, struct var *h, enum norm norm,
                             struct var *const *v, const struct op_image *image)
{
    if (norm == NORM_BATCH)
        h = op_batch_norm(t, h, v[0], v[1], &(struct op_running){v[2], v[3]},
                          image);
    else
        h = op_group_norm(t, h, v[0], v[1], image, image->channels % 2 ? 1 : 2);
    return op_max_pool(t, h, image, OP_RELU_POOL);
}

struct var *arch_cnn_forward(const struct model_spec *s, struct tape *t,
                             struct var *const *v, const struct batch *b)
{
    enum norm norm;
    struct op_image out;
    struct var *h = tape_constant(t, b->x, b->n, s->n_inputs);
    norm_find(s->norm, &norm);
    for (size_t i = 0; i < N_CONVS; i++) {
        struct op_conv c = conv_of(s, i, &out);
        if (norm) c.tail = OP_PLAIN;
        struct op_image plain = op_conv_size(&c, out.channels);
        h = op_conv2d(t, h, v[0], v[1], &c);
        v += 2;
        if (!norm) continue;
        h = norm_tail(t, h, norm, v, &plain);
        v += norm == NORM_BATCH ? 4 : 2;
    }
    for (size_t i = N_CONVS; i <= s->n_hidden; i++, v += 2) {
        h = op_linear(t, h, v[0], v[1]);
        if (i < s->n_hidden) h = op_relu(t, h);
    }
    return h;
}
