#include "common/tensor/vectorise.h"

#include "common/tensor/ops_norm.h"

#include <math.h>

#include "common/tensor/kernels.h"
#include "common/tensor/maps.h"

#define EPSILON 1e-5

/* What backward needs; a segment is what has one mean. */
struct norm {
    float *x;       /* [B, cols] normalised */
    float *d;       /* scratch for one segment's gradient */
    float *inverse; /* [segments] 1 / sqrt(var + epsilon) */
    struct op_image image;
    size_t groups;
    int fixed; /* the statistics are constants */
};

static struct norm *norm_new(struct tape *t, const struct var *x,
                             size_t longest, size_t segments)
{
    struct norm *n = tape_scratch(t, 1, sizeof *n);
    float *kept = tape_raw(t, x->rows * x->cols, sizeof *kept);
    float *d = tape_raw(t, longest, sizeof *d);
    float *inverse = tape_raw(t, segments, sizeof *inverse);
    if (!n || !kept || !d || !inverse) return NULL;
    n->x = kept;
    n->d = d;
    n->inverse = inverse;
    return n;
}

static float inverse_of(double squares, size_t n, double epsilon)
{
    return (float)(1 / sqrt(squares / (double)n + epsilon));
}

MANY_TARGETS
static void shift_scale(float *out, const float *x, float mean, float by,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = (x[i] - mean) * by;
}

MANY_TARGETS
static void gain_bias(float *y, const float *x, const float *gain,
                      const float *bias, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] * gain[i] + bias[i];
}

MANY_TARGETS
static void gain_bias_one(float *y, const float *x, float gain, float bias,
                          size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] * gain + bias;
}

MANY_TARGETS
static void multiply(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

MANY_TARGETS
static void multiply_add(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += a[i] * b[i];
}

/* gx += (d - mean_d - x mean_dx) by */
MANY_TARGETS
static void project(float *gx, const float *d, const float *x, float mean_d,
                    float mean_dx, float by, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gx[i] += (d[i] - mean_d - x[i] * mean_dx) * by;
}

/* ---- layer ---- */

struct layer {
    float *x, *d;          /* [cols] scratch: a row normalised, its gradient */
    float *mean, *inverse; /* [rows] */
};

static void layer_norm_backward(const struct tape_node *node)
{
    const struct var *x = node->in[0], *gain = node->in[1];
    const struct var *bias = node->in[2], *out = node->out;
    const struct layer *n = node->extra;
    size_t cols = x->cols;
    for (size_t r = 0; r < x->rows; r++) {
        const float *g = out->grad + r * cols;
        shift_scale(n->x, x->v + r * cols, n->mean[r], n->inverse[r], cols);
        if (gain->grad) multiply_add(gain->grad, g, n->x, cols);
        if (!x->grad) continue;
        multiply(n->d, g, gain->v, cols);
        float mean = (float)(map_sum(n->d, cols) / (double)cols);
        float along = kernel_dot(n->d, n->x, cols) / (float)cols;
        project(x->grad + r * cols, n->d, n->x, mean, along, n->inverse[r],
                cols);
    }
    if (bias->grad) map_add_rows(bias->grad, out->grad, x->rows, cols);
}

/* To out, which may be in x's memory; NULL after an error. */
static struct var *layer_norm(struct tape *t, struct var *x, struct var *gain,
                              struct var *bias, double epsilon, struct var *out)
{
    size_t cols = x->cols;
    struct layer *n = tape_raw(t, 1, sizeof *n);
    float *row = tape_raw(t, 2 * cols, sizeof *row);
    float *mean = tape_raw(t, 2 * x->rows, sizeof *mean);
    if (!out || !n || !row || !mean) return NULL;
    *n = (struct layer){row, row + cols, mean, mean + x->rows};
    for (size_t r = 0; r < x->rows; r++) {
        const float *from = x->v + r * cols;
        float *y = out->v + r * cols;
        double m = map_sum(from, cols) / (double)cols;
        n->mean[r] = (float)m;
        n->inverse[r] = inverse_of(map_squares(from, m, cols), cols, epsilon);
        shift_scale(y, from, n->mean[r], n->inverse[r], cols);
        gain_bias(y, y, gain->v, bias->v, cols);
    }
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, gain, bias},
                                       .extra = n,
                                       .backward = layer_norm_backward});
    return out;
}

static int layer_fits(const struct var *x, const struct var *gain,
                      const struct var *bias)
{
    return gain->rows == 1 && gain->cols == x->cols && bias->rows == 1 &&
           bias->cols == x->cols && x->cols;
}

struct var *op_layer_norm(struct tape *t, struct var *x, struct var *gain,
                          struct var *bias)
{
    return op_layer_norm_eps(t, x, gain, bias, EPSILON);
}

struct var *op_layer_norm_eps(struct tape *t, struct var *x, struct var *gain,
                              struct var *bias, double epsilon)
{
    if (!x || !gain || !bias) return NULL;
    if (!layer_fits(x, gain, bias))
        return tape_refuse(t, "layer_norm", x, gain);
    return layer_norm(t, x, gain, bias, epsilon,
                      tape_value(t, x->rows, x->cols,
                                 x->grad || gain->grad || bias->grad));
}

struct var *op_layer_norm_over(struct tape *t, struct var *x, struct var *gain,
                               struct var *bias, double epsilon)
{
    if (!x || !gain || !bias || x->grad || gain->grad || bias->grad ||
        !layer_fits(x, gain, bias))
        return op_layer_norm_eps(t, x, gain, bias, epsilon);
    return layer_norm(t, x, gain, bias, epsilon, tape_value_over(t, x, 0));
}

/* ---- root mean square ---- */

struct rms {
    float *d;       /* [cols] scratch */
    float *inverse; /* [rows] */
};

/* With x' = x / rms and d = dy gain: dx += (d - x' mean(d x')) / rms */
static void rms_norm_backward(const struct tape_node *node)
{
    const struct var *x = node->in[0], *gain = node->in[1], *y = node->out;
    const struct rms *n = node->extra;
    size_t cols = x->cols;
    for (size_t r = 0; r < x->rows; r++) {
        const float *g = y->grad + r * cols, *from = x->v + r * cols;
        float by = n->inverse[r];
        if (gain->grad) {
            multiply(n->d, g, from, cols);
            kernel_axpy(gain->grad, by, n->d, cols);
        }
        if (!x->grad) continue;
        multiply(n->d, g, gain->v, cols);
        float along = kernel_dot(n->d, from, cols) / (float)cols;
        project(x->grad + r * cols, n->d, from, 0, along * by * by, by, cols);
    }
}

struct var *op_rms_norm(struct tape *t, struct var *x, struct var *gain,
                        double epsilon)
{
    if (!x || !gain) return NULL;
    size_t cols = x->cols;
    if (gain->rows != 1 || gain->cols != cols || !cols)
        return tape_refuse(t, "rms_norm", x, gain);
    struct var *y = tape_value(t, x->rows, cols, x->grad || gain->grad);
    struct rms *n = tape_raw(t, 1, sizeof *n);
    float *d = tape_raw(t, cols + x->rows, sizeof *d);
    if (!y || !n || !d) return NULL;
    *n = (struct rms){d, d + cols};
    for (size_t r = 0; r < x->rows; r++) {
        const float *from = x->v + r * cols;
        n->inverse[r] = inverse_of(map_squares(from, 0, cols), cols, epsilon);
        map_scale(y->v + r * cols, from, n->inverse[r], cols);
        multiply(y->v + r * cols, y->v + r * cols, gain->v, cols);
    }
    tape_record(t, &(struct tape_node){.out = y,
                                       .in = {x, gain},
                                       .extra = n,
                                       .backward = rms_norm_backward});
    return y;
}

/* ---- images ---- */

static int image_fits(const struct var *x, const struct var *gain,
                      const struct var *bias, const struct op_image *image)
{
    return image->channels && image->height && image->width &&
           x->cols == image->channels * image->height * image->width &&
           gain->rows == 1 && gain->cols == image->channels &&
           bias->rows == 1 && bias->cols == image->channels;
}

/* y from the normalised values, channel by channel. */
static void image_gain_bias(struct var *out, const float *x, const float *gain,
                            const float *bias, const struct op_image *image)
{
    size_t plane = image->height * image->width;
    for (size_t i = 0; i < out->rows * image->channels; i++)
        gain_bias_one(out->v + i * plane, x + i * plane,
                      gain[i % image->channels], bias[i % image->channels],
                      plane);
}

static void image_gain_bias_backward(const struct tape_node *node,
                                     const struct norm *n)
{
    const struct var *gain = node->in[1], *bias = node->in[2];
    size_t plane = n->image.height * n->image.width;
    for (size_t i = 0; i < node->out->rows * n->image.channels; i++) {
        const float *g = node->out->grad + i * plane;
        size_t c = i % n->image.channels;
        if (gain->grad) gain->grad[c] += kernel_dot(g, n->x + i * plane, plane);
        if (bias->grad) bias->grad[c] += (float)map_sum(g, plane);
    }
}

static void group_norm_backward(const struct tape_node *node)
{
    const struct var *x = node->in[0], *gain = node->in[1];
    const struct norm *n = node->extra;
    size_t plane = n->image.height * n->image.width;
    size_t channels = n->image.channels / n->groups, len = channels * plane;
    image_gain_bias_backward(node, n);
    for (size_t s = 0; x->grad && s < x->rows * n->groups; s++) {
        const float *kept = n->x + s * len;
        for (size_t c = 0; c < channels; c++)
            map_scale(n->d + c * plane, node->out->grad + s * len + c * plane,
                      gain->v[s % n->groups * channels + c], plane);
        float mean = (float)(map_sum(n->d, len) / (double)len);
        float along = kernel_dot(n->d, kept, len) / (float)len;
        project(x->grad + s * len, n->d, kept, mean, along, n->inverse[s], len);
    }
}

struct var *op_group_norm(struct tape *t, struct var *x, struct var *gain,
                          struct var *bias, const struct op_image *image,
                          size_t groups)
{
    if (!x || !gain || !bias) return NULL;
    if (!image_fits(x, gain, bias, image) || !groups ||
        image->channels % groups)
        return tape_refuse(t, "group_norm", x, gain);
    size_t len = x->cols / groups;
    struct var *out =
        tape_value(t, x->rows, x->cols, x->grad || gain->grad || bias->grad);
    struct norm *n = norm_new(t, x, len, x->rows * groups);
    if (!out || !n) return NULL;
    n->image = *image;
    n->groups = groups;
    for (size_t s = 0; s < x->rows * groups; s++) {
        const float *from = x->v + s * len;
        double mean = map_sum(from, len) / (double)len;
        n->inverse[s] = inverse_of(map_squares(from, mean, len), len, EPSILON);
        shift_scale(n->x + s * len, from, (float)mean, n->inverse[s], len);
    }
    image_gain_bias(out, n->x, gain->v, bias->v, image);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, gain, bias},
                                       .extra = n,
                                       .backward = group_norm_backward});
    return out;
}

/* Sums over one channel of all images. */
static double channel_sum(const struct var *x, size_t channel, size_t plane)
{
    double sum = 0;
    for (size_t r = 0; r < x->rows; r++)
        sum += map_sum(x->v + r * x->cols + channel * plane, plane);
    return sum;
}

static double channel_squares(const struct var *x, size_t channel, size_t plane,
                              double mean)
{
    double sum = 0;
    for (size_t r = 0; r < x->rows; r++)
        sum += map_squares(x->v + r * x->cols + channel * plane, mean, plane);
    return sum;
}

static void batch_norm_backward(const struct tape_node *node)
{
    const struct var *x = node->in[0], *gain = node->in[1], *out = node->out;
    const struct norm *n = node->extra;
    size_t plane = n->image.height * n->image.width;
    double count = (double)(x->rows * plane);
    image_gain_bias_backward(node, n);
    for (size_t c = 0; x->grad && c < n->image.channels; c++) {
        double sum = 0, along = 0;
        for (size_t r = 0; !n->fixed && r < x->rows; r++) {
            size_t at = r * x->cols + c * plane;
            sum += map_sum(out->grad + at, plane);
            along += (double)kernel_dot(out->grad + at, n->x + at, plane);
        }
        for (size_t r = 0; r < x->rows; r++) {
            size_t at = r * x->cols + c * plane;
            project(x->grad + at, out->grad + at, n->x + at,
                    (float)(sum / count), (float)(along / count),
                    n->inverse[c] * gain->v[c], plane);
        }
    }
}

/* Mean and variance of a channel: the batch's, or the running ones. */
static void channel_statistics(const struct var *x, size_t c, size_t plane,
                               const struct op_running *running, double *mean,
                               double *var)
{
    double count = (double)(x->rows * plane);
    if (!running->mean->grad) {
        *mean = (double)running->mean->v[c];
        *var = (double)running->var->v[c];
        return;
    }
    *mean = channel_sum(x, c, plane) / count;
    double squares = channel_squares(x, c, plane, *mean);
    *var = squares / count;
    running->mean->grad[c] += (float)((double)running->mean->v[c] - *mean);
    running->var->grad[c] +=
        (float)((double)running->var->v[c] - squares / (count - 1));
}

struct var *op_batch_norm(struct tape *t, struct var *x, struct var *gain,
                          struct var *bias, const struct op_running *running,
                          const struct op_image *image)
{
    if (!x || !gain || !bias || !running->mean || !running->var) return NULL;
    if (!image_fits(x, gain, bias, image) ||
        !image_fits(x, running->mean, running->var, image) || !x->rows ||
        !running->mean->grad != !running->var->grad)
        return tape_refuse(t, "batch_norm", x, gain);
    size_t plane = image->height * image->width;
    if (running->mean->grad && x->rows * plane < 2)
        return tape_refuse(t, "batch_norm of one value", x, gain);
    struct var *out =
        tape_value(t, x->rows, x->cols, x->grad || gain->grad || bias->grad);
    struct norm *n = norm_new(t, x, 1, image->channels);
    if (!out || !n) return NULL;
    n->image = *image;
    n->fixed = !running->mean->grad;
    for (size_t c = 0; c < image->channels; c++) {
        double mean, var;
        channel_statistics(x, c, plane, running, &mean, &var);
        n->inverse[c] = inverse_of(var, 1, EPSILON);
        for (size_t r = 0; r < x->rows; r++) {
            size_t at = r * x->cols + c * plane;
            shift_scale(n->x + at, x->v + at, (float)mean, n->inverse[c],
                        plane);
        }
    }
    image_gain_bias(out, n->x, gain->v, bias->v, image);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, gain, bias},
                                       .extra = n,
                                       .backward = batch_norm_backward});
    return out;
}
