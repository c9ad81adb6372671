#include "common/model/adapter.h"

#include <string.h>

#include "common/tensor/kernels.h"

void adapter_apply(const float *w, const float *q, size_t dim, float *out)
{
    memcpy(out, q, dim * sizeof *out);
    for (size_t i = 0; w && i < dim; i++)
        kernel_axpy(out, q[i], w + i * dim, dim);
    kernel_normalise(out, dim);
}
