#include "common/tensor/vectorise.h"

#include "common/tensor/ops_conv.h"

#include <string.h>

#include "common/tensor/kernels.h"
#include "common/tensor/maps.h"
#include "common/tensor/maxpool.h"

/* Images whose weight gradients are summed in one go, while they are in
 * cache. */
enum { GROUP = 4 };
_Static_assert((int)POOL_SLACK <= (int)WINDOW_SLACK, "one slack for both");

/* A convolution at work: sizes, then buffers of the tape. */
struct conv {
    struct op_conv is;
    size_t out_channels, kernel; /* kernel: side * side */
    size_t wide;                 /* row of the padded plane */
    size_t plane;                /* padded plane, one channel */
    size_t high, row;            /* output: rows, columns */
    size_t n_points;             /* of the line, without its last gap */
    size_t margin, line;         /* gradient line: zeros before it, length */
    struct op_image out;
    ptrdiff_t *offset;      /* [in channels * kernel] into padded */
    ptrdiff_t *back_offset; /* [out channels * kernel] into lines, backwards */
    float *padded;          /* [GROUP, in channels * plane + slack] */
    float *sums;            /* [out channels, line], also d padded */
    float *lines;           /* [GROUP, out channels * line], gaps are zero */
    float *turned;          /* [in channels, out channels * kernel] */
    uint32_t *winner;       /* [B, out] */
};

static size_t round_up(size_t n)
{
    return (n + WINDOW_SLACK - 1) / WINDOW_SLACK * WINDOW_SLACK;
}

struct op_image op_conv_size(const struct op_conv *c, size_t channels)
{
    size_t high = c->in.height + 2 * c->padding, wide = c->in.width;
    wide += 2 * c->padding;
    struct op_image out = {channels, 0, 0};
    if (c->side == 0 || c->side > high || c->side > wide) return out;
    out.height = high - c->side + 1;
    out.width = wide - c->side + 1;
    if (c->tail == OP_RELU_POOL) {
        out.height /= 2;
        out.width /= 2;
    }
    return out;
}

static size_t image_size(const struct op_image *i)
{
    return i->channels * i->height * i->width;
}

static size_t padded_size(const struct conv *c)
{
    return round_up(c->is.in.channels * c->plane) + WINDOW_SLACK;
}

static void set_sizes(struct conv *c, const struct op_conv *is, size_t channels)
{
    c->is = *is;
    c->out_channels = channels;
    c->kernel = is->side * is->side;
    c->wide = is->in.width + 2 * is->padding;
    c->plane = c->wide * (is->in.height + 2 * is->padding);
    c->high = is->in.height + 2 * is->padding - is->side + 1;
    c->row = c->wide - is->side + 1;
    c->n_points = (c->high - 1) * c->wide + c->row;
    c->margin = round_up((is->side - 1) * (c->wide + 1));
    c->line = c->margin + round_up(c->plane) + WINDOW_SLACK;
    c->out = op_conv_size(is, channels);
}

static void set_offsets(struct conv *c)
{
    size_t side = c->is.side;
    for (size_t k = 0; k < c->kernel; k++) {
        size_t at = k / side * c->wide + k % side;
        for (size_t i = 0; i < c->is.in.channels; i++)
            c->offset[i * c->kernel + k] = (ptrdiff_t)(i * c->plane + at);
        for (size_t o = 0; o < c->out_channels; o++)
            c->back_offset[o * c->kernel + k] =
                (ptrdiff_t)(o * c->line + c->margin) - (ptrdiff_t)at;
    }
}

static struct conv *conv_new(struct tape *t, const struct op_conv *is,
                             size_t channels, size_t batch, int needs_grad)
{
    struct conv *c = tape_scratch(t, 1, sizeof *c);
    if (!c) return NULL;
    set_sizes(c, is, channels);
    size_t ins = is->in.channels, most = ins > channels ? ins : channels;
    size_t group = needs_grad ? GROUP : 1;
    c->offset = tape_raw(t, ins * c->kernel, sizeof *c->offset);
    c->back_offset = tape_raw(t, channels * c->kernel, sizeof *c->back_offset);
    c->padded = tape_scratch(t, group * padded_size(c), sizeof *c->padded);
    c->sums = tape_scratch(t, most * c->line, sizeof *c->sums);
    c->winner = tape_raw(t, batch * image_size(&c->out) + POOL_SLACK,
                         sizeof *c->winner);
    if (needs_grad) {
        c->lines =
            tape_scratch(t, GROUP * channels * c->line, sizeof *c->lines);
        c->turned = tape_raw(t, ins * channels * c->kernel, sizeof *c->turned);
    }
    if (t->err) return NULL;
    set_offsets(c);
    return c;
}

/* An image into the middle of its padded planes; the border stays zero. */
static void pad(const struct conv *c, const float *x, float *padded)
{
    const struct op_image *in = &c->is.in;
    for (size_t i = 0; i < in->channels; i++)
        for (size_t y = 0; y < in->height; y++)
            memcpy(padded + i * c->plane + (y + c->is.padding) * c->wide +
                       c->is.padding,
                   x + (i * in->height + y) * in->width, in->width * sizeof *x);
}

static struct pool_plane pooling(const struct conv *c, float bias)
{
    return (struct pool_plane){c->wide, c->out.height, c->out.width, bias, 1};
}

static void image_forward(const struct conv *c, const float *w, const float *b,
                          float *out, uint32_t *winner)
{
    kernel_correlate(
        &(struct kernel_window){.rows = c->out_channels,
                                .n_offsets = c->is.in.channels * c->kernel,
                                .n_points = c->n_points,
                                .a = w,
                                .a_row = c->is.in.channels * c->kernel,
                                .b = c->padded,
                                .offset = c->offset,
                                .c = c->sums,
                                .c_row = c->line});
    size_t n = c->out.height * c->out.width;
    for (size_t o = 0; o < c->out_channels; o++) {
        const float *from = c->sums + o * c->line;
        if (c->is.tail == OP_RELU_POOL) {
            const struct pool_plane p = pooling(c, b[o]);
            pool_forward(&p, from, out + o * n, winner + o * n);
            continue;
        }
        for (size_t y = 0; y < c->high; y++)
            for (size_t x = 0; x < c->row; x++)
                out[o * n + y * c->row + x] = from[y * c->wide + x] + b[o];
    }
}

/* Gradient lines of one image, with zeros in the gaps. */
static void spread(const struct conv *c, const float *g, const uint32_t *winner,
                   float *lines)
{
    size_t n = c->out.height * c->out.width;
    for (size_t o = 0; o < c->out_channels; o++) {
        float *to = lines + o * c->line + c->margin;
        if (c->is.tail == OP_RELU_POOL) {
            const struct pool_plane p = pooling(c, 0);
            pool_backward(&p, g + o * n, winner + o * n, to);
            continue;
        }
        for (size_t y = 0; y < c->high; y++)
            memcpy(to + y * c->wide, g + o * n + y * c->row,
                   c->row * sizeof *g);
    }
}

/* dx of one image: its gradient lines against the turned weights. */
static void image_backward(const struct conv *c, const float *lines, float *gx)
{
    const struct op_image *in = &c->is.in;
    size_t reach = c->out_channels * c->kernel;
    kernel_correlate(&(struct kernel_window){.rows = in->channels,
                                             .n_offsets = reach,
                                             .n_points = c->plane,
                                             .a = c->turned,
                                             .a_row = reach,
                                             .b = lines,
                                             .offset = c->back_offset,
                                             .c = c->sums,
                                             .c_row = c->line});
    for (size_t i = 0; i < in->channels; i++)
        for (size_t y = 0; y < in->height; y++) {
            float *to = gx + (i * in->height + y) * in->width;
            map_add(to, to,
                    c->sums + i * c->line + (y + c->is.padding) * c->wide +
                        c->is.padding,
                    in->width);
        }
}

/* turned[i][o, k] = w[o][i, k] */
static void turn_weights(const struct conv *c, const float *w)
{
    size_t ins = c->is.in.channels;
    for (size_t o = 0; o < c->out_channels; o++)
        for (size_t i = 0; i < ins; i++)
            memcpy(c->turned + (i * c->out_channels + o) * c->kernel,
                   w + (o * ins + i) * c->kernel, c->kernel * sizeof *w);
}

/* dw and db of a group of n images. */
static void group_backward(const struct conv *c, size_t n, float *gw, float *gb)
{
    size_t reach = c->is.in.channels * c->kernel;
    if (gw)
        kernel_reduce(
            &(struct kernel_window){.rows = c->out_channels,
                                    .n_offsets = reach,
                                    .n_points = c->n_points,
                                    .a = c->lines + c->margin,
                                    .a_row = c->line,
                                    .b = c->padded,
                                    .offset = c->offset,
                                    .c = gw,
                                    .c_row = reach,
                                    .n_images = n,
                                    .a_image = c->out_channels * c->line,
                                    .b_image = padded_size(c)});
    for (size_t i = 0; gb && i < n; i++)
        for (size_t o = 0; o < c->out_channels; o++)
            gb[o] +=
                (float)map_sum(c->lines + (i * c->out_channels + o) * c->line +
                                   c->margin,
                               c->n_points);
}

static void conv2d_backward(const struct tape_node *node)
{
    const struct var *x = node->in[0], *w = node->in[1], *b = node->in[2];
    const struct conv *c = node->extra;
    size_t n_out = image_size(&c->out), n_lines = c->out_channels * c->line;
    if (x->grad) turn_weights(c, w->v);
    for (size_t first = 0; first < x->rows; first += GROUP) {
        size_t n = x->rows - first < GROUP ? x->rows - first : GROUP;
        for (size_t i = 0; i < n; i++) {
            size_t row = first + i;
            float *lines = c->lines + i * n_lines;
            spread(c, node->out->grad + row * n_out, c->winner + row * n_out,
                   lines);
            if (w->grad)
                pad(c, x->v + row * x->cols, c->padded + i * padded_size(c));
            if (x->grad) image_backward(c, lines, x->grad + row * x->cols);
        }
        group_backward(c, n, w->grad, b->grad);
    }
}

/* A value with room for whole vectors behind it. */
static struct var *roomy_value(struct tape *t, size_t rows, size_t cols,
                               int needs_grad)
{
    float *v = tape_raw(t, rows * cols + POOL_SLACK, sizeof *v);
    float *g = needs_grad ? tape_scratch(t, rows * cols + POOL_SLACK, sizeof *g)
                          : NULL;
    return t->err ? NULL : tape_parameter(t, v, g, rows, cols);
}

struct var *op_conv2d(struct tape *t, struct var *x, struct var *w,
                      struct var *b, const struct op_conv *is)
{
    if (!x || !w || !b) return NULL;
    struct op_image size = op_conv_size(is, w->rows);
    if (x->cols != image_size(&is->in) ||
        w->cols != is->in.channels * is->side * is->side || !image_size(&size))
        return tape_refuse(t, "conv2d", x, w);
    if (b->rows != 1 || b->cols != w->rows)
        return tape_refuse(t, "bias of a conv2d", w, b);
    int needs_grad = x->grad || w->grad || b->grad;
    struct var *out = roomy_value(t, x->rows, image_size(&size), needs_grad);
    struct conv *c = conv_new(t, is, w->rows, x->rows, needs_grad);
    if (!out || !c) return NULL;
    for (size_t i = 0; i < x->rows; i++) {
        pad(c, x->v + i * x->cols, c->padded);
        image_forward(c, w->v, b->v, out->v + i * out->cols,
                      c->winner + i * out->cols);
    }
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, w, b},
                                       .extra = c,
                                       .backward = conv2d_backward});
    return out;
}

/* ---- pooling alone ---- */

struct pool {
    struct pool_plane plane;
    size_t n_in, n_out; /* floats of one plane */
    float *copy;        /* a plane with slack */
    uint32_t *winner;
};

static void max_pool_backward(const struct tape_node *node)
{
    const struct var *x = node->in[0], *out = node->out;
    const struct pool *p = node->extra;
    size_t n_planes = out->rows * out->cols / p->n_out;
    memset(p->copy, 0, p->n_in * sizeof *p->copy);
    for (size_t i = 0; i < n_planes; i++) {
        float *to = x->grad + i * p->n_in;
        pool_backward(&p->plane, out->grad + i * p->n_out,
                      p->winner + i * p->n_out, p->copy);
        map_add(to, to, p->copy, p->n_in);
    }
}

struct var *op_max_pool(struct tape *t, struct var *x,
                        const struct op_image *image, enum op_tail tail)
{
    if (!x) return NULL;
    struct pool_plane plane = {image->width, image->height / 2,
                               image->width / 2, 0, tail == OP_RELU_POOL};
    size_t n_in = image->height * image->width;
    size_t n_out = plane.height * plane.width;
    if (x->cols != image->channels * n_in || !n_out || !image->channels)
        return tape_refuse(t, "max_pool", x, x);
    size_t n_planes = x->rows * image->channels;
    struct var *out =
        roomy_value(t, x->rows, image->channels * n_out, x->grad != NULL);
    struct pool *p = tape_raw(t, 1, sizeof *p);
    float *copy = tape_scratch(t, n_in + POOL_SLACK, sizeof *copy);
    uint32_t *winner =
        tape_raw(t, n_planes * n_out + POOL_SLACK, sizeof *winner);
    if (!out || !p || !copy || !winner) return NULL;
    *p = (struct pool){plane, n_in, n_out, copy, winner};
    for (size_t i = 0; i < n_planes; i++) {
        memcpy(copy, x->v + i * n_in, n_in * sizeof *copy);
        pool_forward(&plane, copy, out->v + i * n_out, winner + i * n_out);
    }
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x},
                                       .extra = p,
                                       .backward = max_pool_backward});
    return out;
}
