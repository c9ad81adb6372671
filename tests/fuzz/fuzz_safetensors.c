/* safetensors_decode: any bytes give an error or finite weights. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t w[] = {3, 2}, b[] = {2};
    struct params p;
    params_init(&p);
    if (params_add(&p, "w", w, 2) || params_add(&p, "b", b, 1) ||
        params_alloc(&p))
        abort();
    if (safetensors_decode(data, size, &p) == TACIT_OK)
        for (size_t i = 0; i < p.n_flat; i++)
            if (!isfinite(p.flat[i])) abort();
    err_clear();
    params_release(&p);
    return 0;
}
