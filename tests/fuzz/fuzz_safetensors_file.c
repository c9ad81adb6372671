/* safetensors_open_bytes: any bytes give an error, or tensors that lie inside
 * them, none over another. */
#include <stdint.h>
#include <stdlib.h>

#include "common/model/safetensors_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors_file *f = NULL;
    if (safetensors_open_bytes(data, size, &f) == TACIT_OK) {
        const uint8_t *end = data;
        for (size_t i = 0; i < safetensors_n_tensors(f); i++) {
            const struct gguf_tensor *t = safetensors_tensor_at(f, i);
            if (t->data < end || t->bytes == 0) abort();
            end = t->data + t->bytes;
        }
        if (end > data + size) abort();
        safetensors_close(f);
    }
    err_clear();
    return 0;
}
