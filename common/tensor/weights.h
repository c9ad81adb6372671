/*
 * weights: a frozen matrix W [n_out, n_in], packed for y = x W^T.
 *
 * Sixteen output rows make a tile; a tile's bytes lie together, so a product
 * reads W once, in order, as it lies in a mapped file. One layout serves every
 * instruction set: 64 bytes are one register of AVX-512, two of AVX2, four of
 * NEON, a row of AMX's tiles. The last tile is filled up with rows of zeros.
 *
 *   F32, F16, BF16   [n_in][16 rows]
 *   Q8_0   for two blocks of 32 inputs: scales [2][16 rows] f16, then
 *          [2][8][16 rows][4 inputs] bytes, q + 128
 *   Q4_0   the same scales, then [2][4][16 rows][4 bytes]: byte j of group g
 *          has input 4 g + j below, 16 + 4 g + j above, q + 8
 *
 * A last odd block stands alone after 64 bytes of scales, half of them zero.
 *
 * Products with the quantised types turn each row of x into bytes too, with a
 * scale per 32 numbers (|x|max / 127, rounding to nearest):
 *
 *   y_ti = sum over blocks b of (sum of 32 products of bytes) dw_ib dx_tb
 *
 * The inner sum is exact; the outer is in order: the product of the scales is
 * rounded, then each step, a product and its addition, once. So these products
 * have the same bits on every processor and for any number of threads, and
 * differ from the product with the decoded W by what x lost (about 0.4 % of a
 * block's largest number). So have products of up to four
 * rows with the plain types, or of any number with WEIGHT_ROWS_ALIKE; those of
 * more use gemm_run (kernels.h), and have its rule, or with WEIGHT_ROWS_SPLIT
 * that of weight_split.c: other last bits where there is AMX-BF16.
 *
 * Thread rule: a struct weight is const and shared by any number of threads; a
 * room belongs to one caller at a time, which must not itself be in its pool.
 */
#ifndef TACIT_TENSOR_WEIGHTS_H
#define TACIT_TENSOR_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/pool.h"
#include "common/tensor/kernels.h"
#include "common/tensor/quant.h"

enum {
    WEIGHT_TILE = 16,         /* output rows */
    WEIGHT_SIDE_MAX = 1 << 24 /* n_out, n_in */
};

struct weight {
    enum quant_type type;
    size_t n_out, n_in;
    const uint8_t *data; /* borrowed, weight_bytes(); 64-byte aligned is best */
};

/* Bytes of a packed matrix; 0 when weights of the type are not packed (decode
 * them and encode them as another), n_in is not whole blocks, or a side is 0 or
 * over the limit. Any bytes of this size are a weight: none leads astray. */
size_t weight_bytes(enum quant_type type, size_t n_out, size_t n_in);

/* From n_out rows as GGUF files hold them (quant.h) to out [weight_bytes()],
 * and exactly back. Sides as in weight_bytes (asserted). */
void weight_pack(enum quant_type type, size_t n_out, size_t n_in,
                 const void *rows, void *out);
void weight_unpack(const struct weight *w, void *rows);

/* Rows i0 to i1, decoded: dst [i1 - i0, n_in]. */
void weight_rows(const struct weight *w, size_t i0, size_t i1, float *dst);

/* Where products run: threads, and scratch that grows to the largest of them:
 * after the first steps nothing is allocated. pool borrowed; NULL: the caller's
 * thread alone. */
struct weight_room;
TACIT_CHECKED enum tacit_err weight_room_new(struct weight_room **out,
                                             struct pool *pool);
void weight_room_free(struct weight_room *room);
/* How the way back multiplies from now on. */
void weight_room_back_in(struct weight_room *room, enum gemm_numbers numbers);
/* Products of more than four rows with the plain types: as fast as f32 can be;
 * each row with the bits that it has alone; or, with F16 and BF16, by sums of
 * two bf16, where the processor has tiles for them (weight_split.c): within
 * 2^-16 of the sum of |w x|, and some 2^-18 of its root mean square. */
enum weight_rows { WEIGHT_ROWS_FAST, WEIGHT_ROWS_ALIKE, WEIGHT_ROWS_SPLIT };
void weight_room_rows(struct weight_room *room, enum weight_rows rows);
/* Bytes of scratch held. */
size_t weight_room_bytes(const struct weight_room *room);

/* y [n_rows, n_out] (+)= x [n_rows, n_in] W^T. TACIT_NOMEM. */
TACIT_CHECKED enum tacit_err weight_product(struct weight_room *room,
                                            const struct weight *w,
                                            const float *x, float *y,
                                            size_t n_rows, enum gemm_mode mode);

/* Several products of one x, as one job for the threads: q, k and v; gate and
 * up. All n_in are equal (asserted). */
struct weight_job {
    const struct weight *w;
    float *y; /* [n_rows, w->n_out] */
    enum gemm_mode mode;
    const float *bias; /* [w->n_out] added to each row of y, which is set, not
                          added to; NULL: none */
};
enum { WEIGHT_JOBS_MAX = 8 };
TACIT_CHECKED enum tacit_err weight_products(struct weight_room *room,
                                             const struct weight_job *jobs,
                                             size_t n_jobs, const float *x,
                                             size_t n_rows);

/* y = gelu(x widen^T + bias) narrow^T + bias, where both are of blocks and one
 * is as wide as the other is deep; widen's y is not read. What is between goes
 * to bytes at once, with the bits that it has in memory. TACIT_NOMEM. */
bool weight_feeds(const struct weight *widen, const struct weight *narrow);
TACIT_CHECKED enum tacit_err weight_feed(struct weight_room *room,
                                         const struct weight_job *widen,
                                         const struct weight_job *narrow,
                                         const float *x, size_t n_rows);

/* dx [n_rows, n_in] (+)= dy [n_rows, n_out] W: W is decoded a piece at a time,
 * and multiplied in f32 or as weight_room_back_in() said. */
TACIT_CHECKED enum tacit_err weight_product_back(struct weight_room *room,
                                                 const struct weight *w,
                                                 const float *dy, float *dx,
                                                 size_t n_rows,
                                                 enum gemm_mode mode);

#endif
