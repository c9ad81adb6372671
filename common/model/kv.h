/*
 * kv: the keys and values of tokens that a decoder has seen, so that a token
 * costs one row of work.
 *
 *   layer 0  k  head 0  [n_max, width]     as f32, f16 or Q8_0
 *               head 1  [n_max, width]
 *            v  head 0  …
 *   layer 1  …
 *
 * Memory is taken at once, for n_max tokens. Keys are kept after their rotary
 * turn. A network appends layer by layer and then advances; what was appended
 * without that is written over, so a failed pass leaves the cache as it was.
 *
 * Where attention has a window of W tokens, no more than W - 1 before the next
 * ever matter. Such a cache is a ring of W - 1 + KV_PIECE rows, however long
 * the context:
 *
 *   token   0 1 2 … 9 │ 10 11 12        lost: tokens whose row a later one has
 *   row     0 1 2 … 9 │  0  1  2        (here 0, 1, 2)
 *
 * It is cut back, copied and packed where the rows that the next token sees
 * are still there (kv_holds).
 *
 * Thread rule: one writer, or many readers.
 */
#ifndef TACIT_MODEL_KV_H
#define TACIT_MODEL_KV_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/tensor/ops_attend.h"
#include "common/tensor/quant.h"

enum {
    KV_TOKENS_MAX = 1 << 20,
    KV_PIECE = 256 /* tokens at once, of a ring */
};

struct kv_shape {
    size_t layers, heads, width; /* heads of k; numbers in one */
    size_t n_max;                /* tokens */
    enum quant_type type;        /* QUANT_F32, QUANT_F16 or QUANT_Q8_0 */
    size_t window;               /* of attention; 0: all tokens */
};

struct kv; /* owned */

/* UNSUPPORTED for another type, or a width that is no whole number of blocks;
 * LIMIT, NOMEM. */
TACIT_CHECKED enum tacit_err kv_new(const struct kv_shape *s, struct kv **out);
void kv_free(struct kv *c);
const struct kv_shape *kv_shape(const struct kv *c);
/* Bytes that kv_new() would take; 0 when the shape is not possible. */
size_t kv_bytes(const struct kv_shape *s);
/* Tokens that are in memory at a time: n_max, or those of the ring. */
size_t kv_rows(const struct kv_shape *s);
/* Tokens in the cache. */
size_t kv_n(const struct kv *c);
/* What the token after the first n sees of them is in memory: always, but for
 * a ring that has gone on. 0 when n > kv_n(). */
int kv_holds(const struct kv *c, size_t n);
/* k and v [n, heads * width] of the n tokens after kv_n(). LIMIT when they do
 * not fit, or are no finite numbers. */
TACIT_CHECKED enum tacit_err kv_append(struct kv *c, size_t layer,
                                       const float *k, const float *v,
                                       size_t n);
/* n more tokens are in the cache: all layers have them. */
void kv_advance(struct kv *c, size_t n);
/* Forget all but the first n tokens, which it holds, or all. */
void kv_truncate(struct kv *c, size_t n);
/* The first n tokens of `from`, which has the same shape but for n_max: a
 * prefix that many answers share is worked out once. SHAPE; LIMIT, also when
 * `from` does not hold them. */
TACIT_CHECKED enum tacit_err kv_copy(struct kv *c, const struct kv *from,
                                     size_t n);
/* The first n tokens, which it holds, as bytes, layer by layer, and back: the
 * cache then holds these n alone. Of a window its W - 1 last are all. SHAPE
 * when n_bytes is not theirs, LIMIT when they do not fit, FORMAT when they hold
 * what is no number. */
size_t kv_packed_bytes(const struct kv *c, size_t n);
void kv_pack(const struct kv *c, size_t n, uint8_t *out);
TACIT_CHECKED enum tacit_err kv_unpack(struct kv *c, const uint8_t *bytes,
                                       size_t n_bytes, size_t n);
/* What op_attend() wants of a layer; borrowed from the cache. */
struct attend_past kv_past(const struct kv *c, size_t layer);

#endif
