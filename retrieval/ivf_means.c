#include "common/tensor/vectorise.h"

#include "retrieval/ivf_state.h"

#include <stdlib.h>

#include "common/tensor/kernels.h"

enum {
    POWER_ROUNDS = 3,
    MEANS_ROUNDS = 6,
    SHARE_MIN = 8, /* a half is at least 1 / so much of the list */
    NEAR_MIN = 32  /* and its mean the nearer one for so many of them */
};

MANY_TARGETS void ivf_row_add(float *restrict y, float a,
                              const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

/* The direction in which the rows spread most, into h->along; h->c[0] is their
 * mean. */
static void main_direction(struct ivf_halves *h)
{
    size_t far = 0, width = h->width;
    float *mean = h->c[0], *next = h->c[1], best = -1;
    memset(mean, 0, width * sizeof *mean);
    for (size_t i = 0; i < h->n; i++)
        ivf_row_add(mean, 1 / (float)h->n, h->x + i * width, width);
    for (size_t i = 0; i < h->n; i++) {
        memcpy(next, h->x + i * width, width * sizeof *next);
        ivf_row_add(next, -1, mean, width);
        float d = kernel_dot(next, next, width);
        if (d > best) {
            best = d;
            far = i;
        }
    }
    memcpy(h->along, h->x + far * width, width * sizeof *h->along);
    ivf_row_add(h->along, -1, mean, width);
    kernel_normalise(h->along, width);
    for (int round = 0; round < POWER_ROUNDS; round++) {
        float middle = kernel_dot(mean, h->along, width), sum = 0;
        memset(next, 0, width * sizeof *next);
        for (size_t i = 0; i < h->n; i++) {
            const float *x = h->x + i * width;
            float p = kernel_dot(x, h->along, width) - middle;
            ivf_row_add(next, p, x, width);
            sum += p;
        }
        ivf_row_add(next, -sum, mean, width);
        memcpy(h->along, next, width * sizeof *next);
        kernel_normalise(h->along, width);
    }
}

/* Sides by margin, and the two means. Returns the size of half 0. */
static size_t means_take(struct ivf_halves *h)
{
    size_t n0 = 0, width = h->width;
    memset(h->c[0], 0, width * sizeof(float));
    memset(h->c[1], 0, width * sizeof(float));
    for (size_t i = 0; i < h->n; i++) {
        n0 += h->side[i] == 0;
        ivf_row_add(h->c[h->side[i]], 1, h->x + i * width, width);
    }
    for (size_t k = 0; k < 2; k++) {
        size_t n = k == 0 ? n0 : h->n - n0;
        for (size_t i = 0; n > 0 && i < width; i++) h->c[k][i] /= (float)n;
    }
    return n0;
}

static void margins_take(struct ivf_halves *h)
{
    size_t width = h->width;
    float shift = (kernel_dot(h->c[1], h->c[1], width) -
                   kernel_dot(h->c[0], h->c[0], width)) /
                  2;
    for (size_t i = 0; i < width; i++) h->along[i] = h->c[1][i] - h->c[0][i];
    for (size_t i = 0; i < h->n; i++)
        h->margin[i] = kernel_dot(h->x + i * width, h->along, width) - shift;
}

struct ranked {
    float margin;
    uint32_t i;
};

static int ranked_compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->margin != y->margin) return x->margin < y->margin ? -1 : 1;
    return x->i < y->i ? -1 : x->i > y->i;
}

/* Half 0 becomes the n0 rows of least margin. */
static void cut_at(struct ivf_halves *h, struct ranked *ranked, size_t n0)
{
    for (size_t i = 0; i < h->n; i++)
        ranked[i] = (struct ranked){h->margin[i], (uint32_t)i};
    qsort(ranked, h->n, sizeof *ranked, ranked_compare);
    for (size_t i = 0; i < h->n; i++) h->side[ranked[i].i] = i >= n0;
}

static bool all_equal(const struct ivf_halves *h)
{
    for (size_t i = 1; i < h->n; i++)
        if (h->margin[i] != h->margin[0]) return false;
    return true;
}

/* 2-means from an even cut along the main direction. */
static void means_settle(struct ivf_halves *h, struct ranked *ranked)
{
    size_t least = (h->n + SHARE_MIN - 1) / SHARE_MIN, n0 = h->n / 2;
    for (int round = 0; round < MEANS_ROUNDS; round++) {
        margins_take(h);
        if (all_equal(h)) return;
        for (size_t i = 0; i < h->n; i++) h->side[i] = h->margin[i] >= 0;
        n0 = means_take(h);
        if (n0 == 0 || n0 == h->n) break;
    }
    if (n0 < least || h->n - n0 < least) {
        margins_take(h);
        cut_at(h, ranked, n0 < least ? least : h->n - least);
        (void)means_take(h);
    }
}

/* Whether each mean is the nearer one for some of the rows. */
static bool both_are_near(struct ivf_halves *h)
{
    size_t n0 = 0, least = (h->n + NEAR_MIN - 1) / NEAR_MIN;
    margins_take(h);
    for (size_t i = 0; i < h->n; i++) n0 += h->margin[i] < 0;
    return n0 >= least && h->n - n0 >= least;
}

/* A few rows far from many that are nearly equal would be cut off again and
 * again; then, and where all are equal, the cut is in the middle. */
enum tacit_err ivf_halves_cut(struct ivf *ix, struct ivf_halves *h)
{
    struct ranked *ranked;
    float *middle;
    TRY(arena_alloc_raw(&ix->arena, h->n, sizeof *ranked, &ranked));
    TRY(arena_alloc_raw(&ix->arena, h->n, sizeof *middle, &middle));
    main_direction(h);
    for (size_t i = 0; i < h->n; i++)
        middle[i] = kernel_dot(h->x + i * h->width, h->along, h->width);
    memcpy(h->margin, middle, h->n * sizeof *middle);
    cut_at(h, ranked, h->n / 2);
    (void)means_take(h);
    means_settle(h, ranked);
    h->even = !both_are_near(h);
    if (!h->even) return TACIT_OK;
    memcpy(h->margin, middle, h->n * sizeof *middle);
    cut_at(h, ranked, h->n / 2);
    (void)means_take(h);
    return TACIT_OK;
}
