/*
 * weight_room: where products run (weights.h), as the files that run them see
 * it.
 */
#ifndef TACIT_TENSOR_WEIGHT_ROOM_H
#define TACIT_TENSOR_WEIGHT_ROOM_H

#include <stdbool.h>

#include "common/tensor/weights.h"

struct weight_set;
struct weight_many;

struct weight_room {
    struct pool *pool;
    const struct weight_set *set;
    const struct weight_many *many; /* NULL: every panel by the set */
    enum gemm_numbers back;
    enum weight_rows rows;
    uint8_t *panels; /* rows of x as bytes, of one pass */
    size_t panels_bytes;
    float *pieces; /* [threads][piece] decoded W */
    size_t piece;
};

/* Decoded numbers of W for each thread. NOMEM. */
TACIT_CHECKED enum tacit_err weight_room_pieces(struct weight_room *room,
                                                size_t piece);

static inline size_t up_to(size_t n, size_t whole)
{
    return (n + whole - 1) / whole * whole;
}

/* Its products are of bytes. */
static inline bool as_bytes(const struct weight *w)
{
    return w->type == QUANT_Q8_0 || w->type == QUANT_Q4_0;
}

#endif
