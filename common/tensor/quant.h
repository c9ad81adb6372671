/*
 * quant: rows of numbers as GGUF files hold them, to f32 and back.
 *
 * A row is cut into blocks that share a scale. d and m are f16:
 *
 *   Q8_0   32 numbers  d, 32 bytes q                   x = d q
 *   Q4_0   32          d, 16 bytes of two nibbles q    x = d (q - 8)
 *   Q4_1   32          d, m, 16 bytes                  x = d q + m
 *   Q5_0   32          d, fifth bits [4], 16 bytes     x = d (q - 16)
 *   Q5_1   32          d, m, fifth bits [4], 16 bytes  x = d q + m
 *   Q4_K  256          d, m, eight 6-bit pairs (s, t), 128 bytes
 *   Q5_K  256          the same and fifth bits [32]    x = d s q - m t
 *   Q6_K  256          128 bytes, upper bits [64], s [16], d   x = d s (q - 32)
 *
 * Of a byte of two nibbles the lower is number i of the block (Q4_K: of 64),
 * the upper the one half a block on. Bytes are little-endian, at any address.
 *
 * Reading knows all types; writing all but the K types, whose blocks of 256 do
 * not fit the rows of small models. Writing rounds as the reference
 * implementation of the format does, so files are equal byte for byte.
 */
#ifndef TACIT_TENSOR_QUANT_H
#define TACIT_TENSOR_QUANT_H

#include <stddef.h>

#include "common/base/err.h"

/* Numbered as in GGUF files. */
enum quant_type {
    QUANT_F32 = 0,
    QUANT_F16 = 1,
    QUANT_Q4_0 = 2,
    QUANT_Q4_1 = 3,
    QUANT_Q5_0 = 6,
    QUANT_Q5_1 = 7,
    QUANT_Q8_0 = 8,
    QUANT_Q4_K = 12,
    QUANT_Q5_K = 13,
    QUANT_Q6_K = 14,
    QUANT_BF16 = 30
};

struct quant_info {
    enum quant_type type;
    const char *name;
    size_t block; /* numbers in a block; 1 for plain types */
    size_t bytes; /* of a block */
    bool written; /* quant_encode knows it */
};

/* NULL for a number that is no type, or one that we do not read. */
const struct quant_info *quant_info(unsigned type);
/* By name ("Q8_0", any case), or NULL. */
const struct quant_info *quant_find(const char *name);

/* Bytes of n numbers; 0 when n is not whole blocks, or over SIZE_MAX. */
size_t quant_bytes(enum quant_type type, size_t n);

/* dst [n] from src, n whole blocks (asserted). Any bytes decode; a hostile
 * scale may give infinite numbers or NaN. */
void quant_decode(enum quant_type type, const void *src, float *dst, size_t n);

/* y [n] += a x for the row x at src: the bits that quant_decode() and
 * kernel_axpy() give. */
void quant_axpy(enum quant_type type, const void *src, float a, float *y,
                size_t n);

/* The other way. TACIT_UNSUPPORTED: a K type. TACIT_LIMIT: a number that is not
 * finite, or too large for the type; dst then holds anything. */
TACIT_CHECKED enum tacit_err quant_encode(enum quant_type type,
                                          const float *src, void *dst,
                                          size_t n);

#endif
