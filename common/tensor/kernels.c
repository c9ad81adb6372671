#include "common/tensor/vectorise.h"

#include "common/tensor/kernels.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/tensor/kernel_choice.h"
#include "common/tensor/kernel_set.h"

MANY_TARGETS
float kernel_dot(const float *x, const float *y, size_t n)
{
    float part[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 16; k++) part[k] += x[i + k] * y[i + k];
    float sum = 0;
    for (; i < n; i++) sum += x[i] * y[i];
    for (size_t k = 0; k < 16; k++) sum += part[k];
    return sum;
}

MANY_TARGETS
void kernel_axpy(float *y, float a, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

float kernel_normalise(float *x, size_t n)
{
    float len = sqrtf(kernel_dot(x, x, n));
    if (!(len > 0)) return 0;
    for (size_t i = 0; i < n; i++) x[i] /= len;
    return len;
}

const struct kernel_set *kernel_set_best(void)
{
#if KERNEL_SETS_X86
    if (kernel_may(KERNEL_AVX512)) return &kernel_set_avx512;
    if (kernel_may(KERNEL_AVX2)) return &kernel_set_avx2;
#endif
    return &kernel_set_base;
}

void gemm_run(const struct gemm *g)
{
    kernel_set_best()->gemm(g, NULL);
}

void gemm_run_from(const struct gemm *g, const float *start)
{
    assert(g->k > 0);
    kernel_set_best()->gemm(g, start);
}

void gemm_run_in(enum gemm_numbers numbers, const struct gemm *g)
{
#if KERNEL_SETS_X86
    if (numbers == GEMM_BF16 && g->k > 0 && (g->a_row == 1 || g->a_col == 1) &&
        kernel_may(KERNEL_AVX512BF16)) {
        (kernel_may(KERNEL_AMXBF16) ? kernel_gemm_amx : kernel_gemm_bf16)(g);
        return;
    }
#endif
    gemm_run(g);
}

void kernel_correlate(const struct kernel_window *w)
{
    kernel_set_best()->correlate(w);
}

void kernel_reduce(const struct kernel_window *w)
{
    kernel_set_best()->reduce(w);
}

void kernel_descend(const struct kernel_window *w)
{
    kernel_set_best()->descend(w);
}

void gemm_nn(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode)
{
    gemm_run(&(struct gemm){m, n, k, a, k, 1, b, n, 1, c, n, mode});
}

void gemm_nt(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode)
{
    gemm_run(&(struct gemm){m, n, k, a, k, 1, b, 1, k, c, n, mode});
}

void gemm_tn(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode)
{
    gemm_run(&(struct gemm){m, n, k, a, 1, m, b, n, 1, c, n, mode});
}
