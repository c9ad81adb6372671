#include "common/tensor/kernels.h"

#include <math.h>
#include <string.h>

#if TACIT_HAVE_BLAS
# include <cblas.h>
# include <pthread.h>
#endif

#if defined __x86_64__ && defined __GNUC__ && !defined __clang__ &&            \
    !defined __SANITIZE_THREAD__ && !defined __SANITIZE_ADDRESS__
# define MANY_TARGETS                                                          \
  __attribute__((target_clones("avx512f", "avx2", "default")))
#else
# define MANY_TARGETS
#endif

#if TACIT_HAVE_BLAS
/* Under this many multiplications a call costs more than it saves. */
enum { BLAS_WORK = 64 * 64 * 64 };

static pthread_once_t blas_once = PTHREAD_ONCE_INIT;

static void blas_setup(void)
{
    openblas_set_num_threads(1);
}

static int blas_wanted(size_t m, size_t n, size_t k)
{
    if (m < 4 || n < 4 || k < 4 || m * n * k < BLAS_WORK) return 0;
    pthread_once(&blas_once, blas_setup);
    return 1;
}
#endif

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

void gemm_nn(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode)
{
#if TACIT_HAVE_BLAS
    if (blas_wanted(m, n, k)) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n,
                    (int)k, 1, a, (int)k, b, (int)n, mode == GEMM_ADD, c,
                    (int)n);
        return;
    }
#endif
    if (mode == GEMM_SET) memset(c, 0, m * n * sizeof *c);
    for (size_t i = 0; i < m; i++)
        for (size_t l = 0; l < k; l++)
            kernel_axpy(c + i * n, a[i * k + l], b + l * n, n);
}

void gemm_nt(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode)
{
#if TACIT_HAVE_BLAS
    if (blas_wanted(m, n, k)) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n,
                    (int)k, 1, a, (int)k, b, (int)k, mode == GEMM_ADD, c,
                    (int)n);
        return;
    }
#endif
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            float v = kernel_dot(a + i * k, b + j * k, k);
            c[i * n + j] = mode == GEMM_ADD ? c[i * n + j] + v : v;
        }
}

void gemm_tn(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode)
{
#if TACIT_HAVE_BLAS
    if (blas_wanted(m, n, k)) {
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)m, (int)n,
                    (int)k, 1, a, (int)m, b, (int)n, mode == GEMM_ADD, c,
                    (int)n);
        return;
    }
#endif
    if (mode == GEMM_SET) memset(c, 0, m * n * sizeof *c);
    for (size_t l = 0; l < k; l++)
        for (size_t i = 0; i < m; i++)
            kernel_axpy(c + i * n, a[l * m + i], b + l * n, n);
}
