/* The products for processors with AVX2 and FMA. */
#include "common/tensor/kernel_set.h"

#if KERNEL_SETS_X86
# pragma GCC target("avx2,fma")
# pragma GCC optimize("O3")
# include <immintrin.h>

# define LANES        8
# define ROWS         6
# define COLUMNS      2
# define UNIT_ROWS    2
# define UNIT_COLUMNS 3
# define vec_keep(v)  __asm__("" : "+x"(v))
# define KERNEL_NAME  "avx2"
# define KERNEL_SET   kernel_set_avx2

typedef __m256 vec;

static inline vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

/* A window over this: n lanes on, the rest off. */
static const int on_off[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

static inline __m256i first(size_t n)
{
    return _mm256_loadu_si256((const __m256i_u *)(on_off + 8 - n));
}

static inline vec vec_load_n(const float *p, size_t n)
{
    return n == 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, first(n));
}

static inline void vec_store_n(float *p, vec v, size_t n)
{
    if (n == 8)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, first(n), v);
}

static inline vec vec_all(float x)
{
    return _mm256_set1_ps(x);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

static inline vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

# include "common/tensor/kernel_body.h"
#endif
