/*
 * safetensors: the file format of model weights (Hugging Face, "safetensors
 * format", README of the reference implementation).
 *
 *   u64 n | n bytes of JSON, padded with spaces | f32 data, little-endian
 *   {"__metadata__":{…},"layer0.w":{"dtype":"F32","shape":[13,1],
 *    "data_offsets":[0,52]},…}
 */
#ifndef TACIT_MODEL_SAFETENSORS_H
#define TACIT_MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/tensor/params.h"

enum { SAFETENSORS_HEADER_MAX = 1 << 20 };

/* Append every tensor of p and the metadata (NULL-terminated key, value pairs;
 * may be NULL) to out. */
TACIT_CHECKED enum tacit_err safetensors_encode(const struct params *p,
                                                const char *const *metadata,
                                                struct buf *out);
/* Length of what safetensors_encode() would append. */
TACIT_CHECKED enum tacit_err safetensors_bytes(const struct params *p,
                                               const char *const *metadata,
                                               uint64_t *out);
/* Fill p (allocated) from n bytes. FORMAT: damaged, or NaN or Inf among the
 * weights; SHAPE: another model's names, shapes or order. p is untouched on
 * failure. */
TACIT_CHECKED enum tacit_err safetensors_decode(const uint8_t *bytes, size_t n,
                                                struct params *p);

#endif
