/* The products for processors with AVX-512. */
#include "common/tensor/kernel_set.h"

#if KERNEL_SETS_X86
# pragma GCC target("avx512f,avx512vl,avx2,fma")
# pragma GCC optimize("O3")
# include <immintrin.h>

# define LANES        16
# define ROWS         6
# define COLUMNS      4
# define UNIT_ROWS    4
# define UNIT_COLUMNS 5
# define vec_keep(v)  __asm__("" : "+v"(v))
# define KERNEL_NAME  "avx512"
# define KERNEL_SET   kernel_set_avx512

typedef __m512 vec;

static inline vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline __mmask16 first(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

static inline vec vec_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(first(n), p);
}

static inline void vec_store_n(float *p, vec v, size_t n)
{
    _mm512_mask_storeu_ps(p, first(n), v);
}

static inline vec vec_all(float x)
{
    return _mm512_set1_ps(x);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

static inline vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

# include "common/tensor/kernel_body.h"
#endif
