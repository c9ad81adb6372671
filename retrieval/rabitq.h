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
 * <b, q>: q is rounded to integers such that the sum of any four neighbours
 * fits 7 bits, so that a code is read half a byte at a time by shuffles in
 * tables of 16 bytes (FastScan). Integers: every version of a kernel gives the
 * same bits.
 *
 *   block of 16 entries    codes  [width / 8][16] u8, byte j of entry i at
 *                                 [16 j + i]
 *                          add    [16] bfloat16
 *                          mul    [16] bfloat16
 *
 * Gao, Long: RaBitQ, arXiv 2405.12497; differs in: 1. the rotation is three
 * rounds of random signs and two Hadamard blocks that overlap, not a dense
 * matrix. Where they overlap by more or less than a half, one after the other
 * nearly undoes it or little gets from one end to the other, and a number that
 * stands out stays: there a round also has signs between its blocks and mixes
 * the halves of the vector (RABITQ_MIXING);
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
#include "common/tensor/half.h"

enum {
    RABITQ_DIM_MAX = 4096,
    RABITQ_STEP = 16,       /* a width is a multiple of it */
    RABITQ_BLOCK = 16,      /* entries whose codes lie interleaved */
    RABITQ_QUERY_MAX = 4095 /* 4096 * 127 * 4095 < 2^31 */
};

/* The error of f <b, y>, in units of f |y|: sqrt(1 - 2 / pi), as numbers of a
 * rotated vector are near normal. */
#define RABITQ_DEVIATION 0.6028F

enum rabitq_metric { RABITQ_L2, RABITQ_DOT };

/* In a seed: signs between the blocks and mixed halves. Indices made before
 * there was this lack it, whatever their width. */
#define RABITQ_MIXING (UINT64_C(1) << 63)

/* The seed of a new index of vectors [dim]: with RABITQ_MIXING where the blocks
 * need it. */
uint64_t rabitq_seed(size_t dim, uint64_t seed);

struct rabitq; /* a rotation; owned */

/* The rotation of vectors [dim] that `seed` names. SHAPE when dim is 0 or over
 * RABITQ_DIM_MAX; NOMEM. */
TACIT_CHECKED enum tacit_err rabitq_new(size_t dim, uint64_t seed,
                                        struct rabitq **out);
void rabitq_free(struct rabitq *rq);
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

/* Encode x relative to c (both [width], rotated) into bits [width / 8]: bit i %
 * 8 of byte i / 8 is set where x_i >= c_i. */
struct rabitq_entry rabitq_encode(enum rabitq_metric metric, const float *x,
                                  const float *c, size_t width, uint8_t *bits);

/* The same for RABITQ_L2 of the first `part` numbers (a multiple of
 * RABITQ_STEP) as a sample of all: bits [part / 8], and scalars with which they
 * estimate the whole |q - x|^2, with sqrt(width / part) times the deviation and
 * that of the choice. */
struct rabitq_entry rabitq_encode_part(const float *x, const float *c,
                                       size_t width, size_t part,
                                       uint8_t *bits);

/* A rotated query in every form that a search needs; set again for the next
 * query. */
struct rabitq_query {
    size_t width;
    float norm2; /* |q|^2 */
    float gain;  /* <b, q> ~ gain * table sum + offset */
    float offset;
    float scale;     /* q_i ~ scale * q16_i */
    uint8_t *tables; /* [2][width / 8][16]: lower, upper halves of the bytes */
    int16_t *q16;    /* [width], at most RABITQ_QUERY_MAX */
};
/* NOMEM. */
TACIT_CHECKED enum tacit_err rabitq_query_new(size_t width,
                                              struct rabitq_query **out);
void rabitq_query_free(struct rabitq_query *q);
void rabitq_query_set(struct rabitq_query *q, const float *x);
/* What a scan of entries of a part needs instead: tables [4 part]; returns the
 * offset. */
float rabitq_query_part(const struct rabitq_query *q, size_t part,
                        uint8_t *tables);

/* What a scan compares with: estimate = base + add - mul (gain sum + offset),
 * lower = estimate - slack mul. */
struct rabitq_scan {
    const uint8_t *tables;
    size_t width;
    float gain, offset, base, slack, limit;
};

/* The loops, in every version this machine runs. */
struct rabitq_kernels {
    const char *name;
    /* One block: estimates and lower bounds [16]; bit i is set where entry i is
     * live and its lower bound is below limit. */
    uint32_t (*scan)(const struct rabitq_scan *s, const uint8_t *block,
                     float *estimate, float *lower);
    /* out[i] = <rows[i], q16>, rows [n, stride], of which width count. */
    void (*dots)(const int8_t *rows, size_t stride, size_t n,
                 const int16_t *q16, size_t width, int32_t *out);
};
/* The best this machine runs. */
const struct rabitq_kernels *rabitq_kernels(void);
/* Version i of them (0 = portable), or NULL past the last that runs here. */
const struct rabitq_kernels *rabitq_kernels_at(size_t i);

#endif
