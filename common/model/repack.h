/*
 * repack: tensors from one file to another, in another type or layout.
 *
 *   any type, rows or tiles ──a few rows at a time──> rows or tiles of a type
 *
 * REPACK_TILES writes matrices in the tiles of weights.h, so that the file is
 * mapped and used as it lies; REPACK_ROWS writes plain GGUF. What has one
 * dimension (norms, biases, rotary factors) becomes F32. A type that products
 * do not take becomes Q8_0, and F16 where rows are no whole blocks.
 */
#ifndef TACIT_MODEL_REPACK_H
#define TACIT_MODEL_REPACK_H

#include "common/base/err.h"
#include "common/model/gguf.h"
#include "common/tensor/quant.h"

enum repack_form { REPACK_TILES, REPACK_ROWS };
enum { REPACK_KEEP = -1 };

struct repack {
    const struct gguf_tensor *from; /* borrowed */
    enum quant_type type;           /* what it becomes */
    int is_matrix, tiles;
};

/* What becomes of a tensor; type: enum quant_type or REPACK_KEEP. UNSUPPORTED
 * (E_MODEL_UNSUPPORTED) names a tensor whose type or shape is not read. */
TACIT_CHECKED enum tacit_err repack_plan(const struct gguf_tensor *from,
                                         int type, enum repack_form form,
                                         struct repack *out);
/* Announce it to the writer: gguf_put_tensor() with its new type. */
void repack_announce(const struct repack *r, struct gguf_writer *w);
/* Its data. step(ctx, bytes read) is called between pieces; an error of it ends
 * the work. */
TACIT_CHECKED enum tacit_err repack_write(
    const struct repack *r, struct gguf_writer *w,
    enum tacit_err (*step)(void *ctx, uint64_t bytes), void *ctx);

#endif
