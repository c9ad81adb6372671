/*
 * rabitq: one bit per number, and what can be said about a distance from it.
 * Beneath ivf; knows nothing of lists, ids or files.
 *
 *   v [dim] --rotate--> x [width]       width = dim rounded up to 16
 *   r = x - c,  b_i = sign(r_i) in {-1, +1}                       width bits
 *   <r, y> is estimated by  f <b, y>,  f = |r|^2 / sum |r_i|      (unbiased)
 *   its error is normal, deviation about 0.6 f |y|, y = q - c
 *
 *   |q - x|^2 = |q - c|^2 + [|r|^2 + 2 f <b, c>] - 2 f <b, q>
 *   -<q, x>   = -<q, c>   + [f <b, c> - <c, r>]  -   f <b, q>
 *                base        add                  mul
 *
 * So an entry is its bits and two scalars, and only `base` depends on the list:
 * a query is rotated and quantised once, whatever the number of lists. Both
 * scalars are bfloat16; their rounding is a hundredth of the error above. A
 * slot with mul = 0 is empty; a live entry's mul is never 0.
 *
 * <b, q>: q is rounded to integers in [-31, 31], so that the sum of any four of
 * them fits a byte table of 16 places, and a code is read half a byte at a time
 * by shuffles (FastScan). Integers: every version gives the same bits.
 *
 *   block of 16 entries    byte j of the code of entry i lies at [16 j + i]
 *
 * Gao, Long: RaBitQ, arXiv 2405.12497; differs in: 1. the rotation is three
 * rounds of random signs and Hadamard blocks that overlap, not a dense matrix;
 * 2. <b, c> is kept with the entry (eq. 20 there quantises q - c per list);
 * 3. the query has about six bits and no random rounding; 4. error bounds use
 * the mean 0.8 of <o-bar, o>.
 *
 * Thread rule: a struct rabitq is constant once made; all else is the caller's.
 */
#ifndef TACIT_RETRIEVAL_RABITQ_H
#define TACIT_RETRIEVAL_RABITQ_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum {
    RABITQ_DIM_MAX = 4096,
    RABITQ_STEP = 16,  /* a width is a multiple of it */
    RABITQ_BLOCK = 16, /* entries whose codes lie interleaved */
    RABITQ_LEVEL_MAX = 31
};

enum rabitq_metric { RABITQ_L2, RABITQ_DOT };

struct rabitq; /* a rotation; owned */

/* The rotation of vectors [dim] that `seed` names. SHAPE when dim is 0 or over
 * RABITQ_DIM_MAX; NOMEM. */
TACIT_CHECKED enum tacit_err rabitq_new(size_t dim, uint64_t seed,
                                        struct rabitq **out);
void rabitq_free(struct rabitq *rq);
size_t rabitq_dim(const struct rabitq *rq);
size_t rabitq_width(const struct rabitq *rq);
/* The width that vectors of dim numbers have when rotated. */
size_t rabitq_width_for(size_t dim);
/* x [width] = P v, v [dim]; lengths and products are kept. x may not overlap v.
 */
void rabitq_rotate(const struct rabitq *rq, const float *v, float *x);
/* v [dim] = P^T x; destroys x [width]. */
void rabitq_unrotate(const struct rabitq *rq, float *x, float *v);

/* A row: x rounded to bytes, x ~ scale * codes. `norm2` is the estimate of
 * |x|^2 with which norm2 + |q|^2 - 2 <q, scale codes> is free of bias. */
struct rabitq_row {
    float scale, norm2;
};
struct rabitq_row rabitq_row_encode(const float *x, size_t width,
                                    int8_t *codes);

/* The scalars of an entry, as they lie in a block. */
struct rabitq_entry {
    uint16_t add, mul; /* bfloat16 */
};
float rabitq_bf16(uint16_t v);

/* Encode x relative to c (both [width], rotated) into bits [width / 8]: bit i %
 * 8 of byte i / 8 is set where x_i >= c_i. */
struct rabitq_entry rabitq_encode(enum rabitq_metric metric, const float *x,
                                  const float *c, size_t width, uint8_t *bits);

/* A rotated query in every form that a search needs. All arrays in one owned
 * allocation; set again for the next query. */
struct rabitq_query {
    size_t width;
    float norm2;    /* |q|^2 */
    float level;    /* q_i ~ level * integer */
    float offset;   /* <b, q> ~ 2 level * table sum + offset */
    float scale16;  /* q_i ~ scale16 * q16_i */
    uint8_t *table; /* [width / 4][16] */
    int16_t *q16;   /* [width rounded up to 32], in [-8191, 8191] */
};
TACIT_CHECKED enum tacit_err rabitq_query_new(size_t width,
                                              struct rabitq_query **out);
void rabitq_query_free(struct rabitq_query *q);
void rabitq_query_set(struct rabitq_query *q, const float *x);

/* The loops, in every version this machine runs. */
struct rabitq_kernels {
    const char *name;
    /* sums [16]: for each entry of a block, codes [width / 8][16], the sum of
     * table places over its half bytes. */
    void (*scan)(const uint8_t *codes, const uint8_t *table, size_t width,
                 uint32_t *sums);
    /* The same for n_blocks blocks `stride` bytes apart: sums [16 n_blocks]. */
    void (*scan_many)(const uint8_t *codes, size_t stride, size_t n_blocks,
                      const uint8_t *table, size_t width, uint32_t *sums);
    /* <row, q16>, row [width] */
    int32_t (*dot)(const int8_t *row, const int16_t *q16, size_t width);
};
/* The best this machine runs. */
const struct rabitq_kernels *rabitq_kernels(void);
/* Version i of them (0 = portable), or NULL past the last that runs here. */
const struct rabitq_kernels *rabitq_kernels_at(size_t i);

#endif
