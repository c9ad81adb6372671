/*
 * safetensors_file: the tensors of any .safetensors file, mapped.
 *
 * The codec in safetensors.h knows which tensors it wants; this one lists what
 * there is, in the terms of gguf.h: type, dimensions innermost first, bytes.
 * Checked when opened: every tensor has the size of its shape, lies inside the
 * file and shares no byte with another.
 */
#ifndef TACIT_MODEL_SAFETENSORS_FILE_H
#define TACIT_MODEL_SAFETENSORS_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/model/gguf.h"

enum { SAFETENSORS_FILE_HEADER_MAX = 64 << 20 };

struct safetensors_file;

TACIT_CHECKED enum tacit_err safetensors_open(const char *path,
                                              struct safetensors_file **out);
/* Bytes are borrowed until safetensors_close(). */
TACIT_CHECKED enum tacit_err safetensors_open_bytes(
    const uint8_t *bytes, size_t n, struct safetensors_file **out);
void safetensors_close(struct safetensors_file *f);
/* The whole file. */
const uint8_t *safetensors_bytes_of(const struct safetensors_file *f,
                                    size_t *out_n);
/* As gguf_forget(); nothing where the data is not of this file. */
void safetensors_forget(const struct safetensors_file *f,
                        const struct gguf_tensor *t);
size_t safetensors_n_tensors(const struct safetensors_file *f);
/* In the order of their bytes. */
const struct gguf_tensor *safetensors_tensor_at(
    const struct safetensors_file *f, size_t i);

#endif
