#include "retrieval/flatscan.h"

#if defined __x86_64__ && defined __GNUC__
# define HAVE_X86 1
# include <immintrin.h>
#else
# define HAVE_X86 0
#endif

static void scan_scalar(const int8_t *rows, size_t stride, size_t n,
                        const int16_t *q, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        int32_t sum = 0;
        const int8_t *row = rows + i * stride;
        for (size_t k = 0; k < stride; k++) sum += row[k] * q[k];
        out[i] = sum;
    }
}

#if HAVE_X86
__attribute__((target("avx2"))) static int32_t sum_avx2(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v),
                              _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

__attribute__((target("avx2"))) static void scan_avx2(const int8_t *rows,
                                                      size_t stride, size_t n,
                                                      const int16_t *q,
                                                      int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        __m256i sum = _mm256_setzero_si256();
        const int8_t *row = rows + i * stride;
        for (size_t k = 0; k < stride; k += 16) {
            const void *at = row + k, *with = q + k;
            __m256i c = _mm256_cvtepi8_epi16(_mm_loadu_si128(at));
            __m256i d = _mm256_loadu_si256(with);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(c, d));
        }
        out[i] = sum_avx2(sum);
    }
}

__attribute__((target("avx512f,avx512bw"))) static void scan_avx512(
    const int8_t *rows, size_t stride, size_t n, const int16_t *q, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        __m512i sum = _mm512_setzero_si512();
        const int8_t *row = rows + i * stride;
        for (size_t k = 0; k < stride; k += 32) {
            const void *at = row + k, *with = q + k;
            __m512i c = _mm512_cvtepi8_epi16(_mm256_loadu_si256(at));
            __m512i d = _mm512_loadu_si512(with);
            sum = _mm512_add_epi32(sum, _mm512_madd_epi16(c, d));
        }
        out[i] = _mm512_reduce_add_epi32(sum);
    }
}
#endif

flatscan_fn *flatscan_at(size_t i, const char **name)
{
    if (i == 0) {
        *name = "scalar";
        return scan_scalar;
    }
#if HAVE_X86
    if (i == 1 && __builtin_cpu_supports("avx2")) {
        *name = "avx2";
        return scan_avx2;
    }
    if (i == 2 && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("avx512bw")) {
        *name = "avx512";
        return scan_avx512;
    }
#endif
    return NULL;
}

flatscan_fn *flatscan_best(void)
{
    flatscan_fn *best = scan_scalar, *f;
    const char *name;
    for (size_t i = 0; (f = flatscan_at(i, &name)) != NULL; i++) best = f;
    return best;
}
