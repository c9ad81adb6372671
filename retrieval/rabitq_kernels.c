#include <string.h>

#include "retrieval/rabitq.h"

#if defined __x86_64__ && defined __GNUC__
# define HAVE_X86 1
# include <immintrin.h>
#else
# define HAVE_X86 0
#endif
#if defined __aarch64__ && defined __ARM_NEON
# define HAVE_NEON 1
# include <arm_neon.h>
#else
# define HAVE_NEON 0
#endif

/* The sum over a code is at most 2 * 512 * 124 < 2^17; a place of a table is
 * at most 127, so that two fit a byte. */

static uint32_t estimate_portable(const struct rabitq_scan *s,
                                  const uint8_t *scalars, const uint32_t *sums,
                                  float *estimate, float *lower)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < RABITQ_BLOCK; i++) {
        uint16_t add, mul;
        memcpy(&add, scalars + 2 * i, sizeof add);
        memcpy(&mul, scalars + 2 * (RABITQ_BLOCK + i), sizeof mul);
        float y = s->gain * (float)sums[i] + s->offset, m = bf16_decode(mul);
        estimate[i] = s->base + bf16_decode(add) - m * y;
        lower[i] = estimate[i] - s->slack * m;
        mask |= (uint32_t)(mul != 0 && lower[i] < s->limit) << i;
    }
    return mask;
}

static uint32_t scan_portable(const struct rabitq_scan *s, const uint8_t *block,
                              float *estimate, float *lower)
{
    size_t bytes = s->width / 8;
    uint32_t sums[RABITQ_BLOCK] = {0};
    const uint8_t *low = s->tables, *high = s->tables + 16 * bytes;
    for (size_t j = 0; j < bytes; j++)
        for (size_t i = 0; i < RABITQ_BLOCK; i++) {
            uint8_t b = block[16 * j + i];
            sums[i] += (uint32_t)low[16 * j + (b & 15)] + high[16 * j + b / 16];
        }
    return estimate_portable(s, block + 16 * bytes, sums, estimate, lower);
}

static void dots_portable(const int8_t *rows, size_t stride, size_t n,
                          const int16_t *q16, size_t width, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        int32_t sum = 0;
        for (size_t k = 0; k < width; k++) sum += rows[i * stride + k] * q16[k];
        out[i] = sum;
    }
}

static const struct rabitq_kernels portable = {"portable", scan_portable,
                                               dots_portable};

#if HAVE_X86
# define AVX2 __attribute__((target("avx2")))
# define AVX512                                                                \
  __attribute__((target("avx2,avx512f,avx512bw,avx512dq,avx512vl")))

/* Sixteen sums of bytes: acc holds, per 16-bit lane, the sum of the lower bytes
 * plus 256 times that of the upper ones (mod 2^16), top the upper ones. */
AVX2 static inline void unfold_avx2(__m128i acc, __m128i top, __m256i *a,
                                    __m256i *b)
{
    __m128i low = _mm_sub_epi16(acc, _mm_slli_epi16(top, 8));
    *a = _mm256_add_epi32(*a,
                          _mm256_cvtepu16_epi32(_mm_unpacklo_epi16(low, top)));
    *b = _mm256_add_epi32(*b,
                          _mm256_cvtepu16_epi32(_mm_unpackhi_epi16(low, top)));
}

AVX2 static inline __m256 bf16_avx2(const uint8_t *at)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}

AVX2 static inline uint32_t estimate_avx2(const struct rabitq_scan *s,
                                          const uint8_t *scalars, __m256i sums,
                                          float *estimate, float *lower)
{
    __m256 add = bf16_avx2(scalars), mul = bf16_avx2(scalars + 32);
    __m256 y = _mm256_add_ps(_mm256_mul_ps(_mm256_set1_ps(s->gain),
                                           _mm256_cvtepi32_ps(sums)),
                             _mm256_set1_ps(s->offset));
    __m256 e = _mm256_sub_ps(_mm256_add_ps(_mm256_set1_ps(s->base), add),
                             _mm256_mul_ps(mul, y));
    __m256 l = _mm256_sub_ps(e, _mm256_mul_ps(_mm256_set1_ps(s->slack), mul));
    _mm256_storeu_ps(estimate, e);
    _mm256_storeu_ps(lower, l);
    __m256i dead =
        _mm256_cmpeq_epi32(_mm256_castps_si256(mul), _mm256_setzero_si256());
    __m256 near = _mm256_cmp_ps(l, _mm256_set1_ps(s->limit), _CMP_LT_OQ);
    return (uint32_t)_mm256_movemask_ps(
        _mm256_andnot_ps(_mm256_castsi256_ps(dead), near));
}

AVX2 static uint32_t scan_avx2(const struct rabitq_scan *s,
                               const uint8_t *block, float *estimate,
                               float *lower)
{
    size_t bytes = s->width / 8;
    const uint8_t *low = s->tables, *high = s->tables + 16 * bytes;
    __m256i half = _mm256_set1_epi8(15), acc = _mm256_setzero_si256();
    __m256i top = acc;
    for (size_t j = 0; j < 16 * bytes; j += 32) {
        __m256i c = _mm256_loadu_si256((const void *)(block + j));
        __m256i a =
            _mm256_shuffle_epi8(_mm256_loadu_si256((const void *)(low + j)),
                                _mm256_and_si256(c, half));
        __m256i b =
            _mm256_shuffle_epi8(_mm256_loadu_si256((const void *)(high + j)),
                                _mm256_and_si256(_mm256_srli_epi16(c, 4),
                                                 half));
        a = _mm256_add_epi8(a, b);
        acc = _mm256_add_epi16(acc, a);
        top = _mm256_add_epi16(top, _mm256_srli_epi16(a, 8));
    }
    __m256i first = _mm256_setzero_si256(), second = first;
    unfold_avx2(_mm256_castsi256_si128(acc), _mm256_castsi256_si128(top),
                &first, &second);
    unfold_avx2(_mm256_extracti128_si256(acc, 1),
                _mm256_extracti128_si256(top, 1), &first, &second);
    const uint8_t *scalars = block + 16 * bytes;
    uint32_t mask = estimate_avx2(s, scalars, first, estimate, lower);
    return mask |
           estimate_avx2(s, scalars + 16, second, estimate + 8, lower + 8) << 8;
}

AVX2 static void dots_avx2(const int8_t *rows, size_t stride, size_t n,
                           const int16_t *q16, size_t width, int32_t *out)
{
    for (size_t i = 0; i < n; i++, rows += stride) {
        __m256i sum = _mm256_setzero_si256();
        for (size_t k = 0; k < width; k += 16) {
            __m256i c =
                _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(rows + k)));
            __m256i d = _mm256_loadu_si256((const void *)(q16 + k));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(c, d));
        }
        __m128i v = _mm_add_epi32(_mm256_castsi256_si128(sum),
                                  _mm256_extracti128_si256(sum, 1));
        v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
        v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
        out[i] = _mm_cvtsi128_si32(v);
    }
}

static const struct rabitq_kernels avx2 = {"avx2", scan_avx2, dots_avx2};

AVX512 static inline __m512i sums_avx512(__m128i acc, __m128i top)
{
    __m128i low = _mm_sub_epi16(acc, _mm_slli_epi16(top, 8));
    __m256i both = _mm256_set_m128i(_mm_unpackhi_epi16(low, top),
                                    _mm_unpacklo_epi16(low, top));
    return _mm512_cvtepu16_epi32(both);
}

/* The same of four such quarters, where no sum of all reaches 2^16. */
enum { FOLD_MAX = 16 * 256 };
AVX512 static inline __m128i fold_avx512(__m512i x)
{
    __m256i half = _mm256_add_epi16(_mm512_castsi512_si256(x),
                                    _mm512_extracti64x4_epi64(x, 1));
    return _mm_add_epi16(_mm256_castsi256_si128(half),
                         _mm256_extracti128_si256(half, 1));
}

AVX512 static inline __m512i sums_wide_avx512(__m512i acc, __m512i top)
{
    __m512i a =
        sums_avx512(_mm512_castsi512_si128(acc), _mm512_castsi512_si128(top));
    __m512i b = sums_avx512(_mm512_extracti32x4_epi32(acc, 1),
                            _mm512_extracti32x4_epi32(top, 1));
    __m512i c = sums_avx512(_mm512_extracti32x4_epi32(acc, 2),
                            _mm512_extracti32x4_epi32(top, 2));
    __m512i d = sums_avx512(_mm512_extracti32x4_epi32(acc, 3),
                            _mm512_extracti32x4_epi32(top, 3));
    return _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
}

AVX512 static inline __m512 bf16_avx512(const uint8_t *at)
{
    __m256i v = _mm256_loadu_si256((const void *)at);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

AVX512 static inline uint32_t estimate_avx512(const struct rabitq_scan *s,
                                              const uint8_t *scalars,
                                              __m512i sums, float *estimate,
                                              float *lower)
{
    __m512 add = bf16_avx512(scalars), mul = bf16_avx512(scalars + 32);
    __m512 y = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(s->gain),
                                           _mm512_cvtepi32_ps(sums)),
                             _mm512_set1_ps(s->offset));
    __m512 e = _mm512_sub_ps(_mm512_add_ps(_mm512_set1_ps(s->base), add),
                             _mm512_mul_ps(mul, y));
    __m512 l = _mm512_sub_ps(e, _mm512_mul_ps(_mm512_set1_ps(s->slack), mul));
    _mm512_storeu_ps(estimate, e);
    _mm512_storeu_ps(lower, l);
    __mmask16 live =
        _mm512_test_epi32_mask(_mm512_castps_si512(mul), _mm512_set1_epi32(-1));
    return _mm512_mask_cmp_ps_mask(live, l, _mm512_set1_ps(s->limit),
                                   _CMP_LT_OQ);
}

AVX512 static uint32_t scan_avx512(const struct rabitq_scan *s,
                                   const uint8_t *block, float *estimate,
                                   float *lower)
{
    size_t bytes = s->width / 8, n = 16 * bytes;
    const uint8_t *low = s->tables, *high = s->tables + n;
    __m512i half = _mm512_set1_epi8(15), acc = _mm512_setzero_si512();
    __m512i top = acc;
    size_t j = 0;
    for (; j + 64 <= n; j += 64) {
        __m512i c = _mm512_loadu_si512(block + j);
        __m512i a = _mm512_shuffle_epi8(_mm512_loadu_si512(low + j),
                                        _mm512_and_si512(c, half));
        __m512i b =
            _mm512_shuffle_epi8(_mm512_loadu_si512(high + j),
                                _mm512_and_si512(_mm512_srli_epi16(c, 4),
                                                 half));
        a = _mm512_add_epi8(a, b);
        acc = _mm512_add_epi16(acc, a);
        top = _mm512_add_epi16(top, _mm512_srli_epi16(a, 8));
    }
    if (j < n) { /* the empty lanes of the tables add nothing */
        __mmask8 rest = 0x0f;
        __m512i c = _mm512_maskz_loadu_epi64(rest, block + j);
        __m512i a = _mm512_shuffle_epi8(_mm512_maskz_loadu_epi64(rest, low + j),
                                        _mm512_and_si512(c, half));
        __m512i b =
            _mm512_shuffle_epi8(_mm512_maskz_loadu_epi64(rest, high + j),
                                _mm512_and_si512(_mm512_srli_epi16(c, 4),
                                                 half));
        a = _mm512_add_epi8(a, b);
        acc = _mm512_add_epi16(acc, a);
        top = _mm512_add_epi16(top, _mm512_srli_epi16(a, 8));
    }
    __m512i sums = n <= FOLD_MAX
                       ? sums_avx512(fold_avx512(acc), fold_avx512(top))
                       : sums_wide_avx512(acc, top);
    return estimate_avx512(s, block + n, sums, estimate, lower);
}

AVX512 static void dots_avx512(const int8_t *rows, size_t stride, size_t n,
                               const int16_t *q16, size_t width, int32_t *out)
{
    for (size_t i = 0; i < n; i++, rows += stride) {
        __m512i sum = _mm512_setzero_si512();
        size_t k = 0;
        for (; k + 32 <= width; k += 32) {
            __m512i c = _mm512_cvtepi8_epi16(
                _mm256_loadu_si256((const void *)(rows + k)));
            __m512i d = _mm512_loadu_si512(q16 + k);
            sum = _mm512_add_epi32(sum, _mm512_madd_epi16(c, d));
        }
        if (k < width) {
            __m256i c =
                _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(rows + k)));
            __m256i d = _mm256_loadu_si256((const void *)(q16 + k));
            sum = _mm512_add_epi32(sum, _mm512_zextsi256_si512(
                                            _mm256_madd_epi16(c, d)));
        }
        out[i] = _mm512_reduce_add_epi32(sum);
    }
}

static const struct rabitq_kernels avx512 = {"avx512", scan_avx512,
                                             dots_avx512};
#endif

#if HAVE_NEON
static inline float32x4_t bf16_neon(const uint8_t *at)
{
    uint16x4_t v = vreinterpret_u16_u8(vld1_u8(at));
    return vreinterpretq_f32_u32(vshll_n_u16(v, 16));
}

/* vshll_n_u16 takes shifts up to 16; products are not fused, as elsewhere. */
static inline uint32_t estimate_neon(const struct rabitq_scan *s,
                                     const uint8_t *scalars, uint32x4_t sums,
                                     float *estimate, float *lower)
{
    static const uint32_t places[4] = {1, 2, 4, 8};
    float32x4_t add = bf16_neon(scalars), mul = bf16_neon(scalars + 32);
    float32x4_t y = vaddq_f32(vmulq_n_f32(vcvtq_f32_u32(sums), s->gain),
                              vdupq_n_f32(s->offset));
    float32x4_t e =
        vsubq_f32(vaddq_f32(vdupq_n_f32(s->base), add), vmulq_f32(mul, y));
    float32x4_t l = vsubq_f32(e, vmulq_n_f32(mul, s->slack));
    vst1q_f32(estimate, e);
    vst1q_f32(lower, l);
    uint32x4_t bits = vreinterpretq_u32_f32(mul);
    uint32x4_t keep =
        vandq_u32(vcltq_f32(l, vdupq_n_f32(s->limit)), vtstq_u32(bits, bits));
    return vaddvq_u32(vandq_u32(keep, vld1q_u32(places)));
}

static uint32_t scan_neon(const struct rabitq_scan *s, const uint8_t *block,
                          float *estimate, float *lower)
{
    enum { STRETCH = 16 * 256 }; /* 256 * 254 < 2^16 */
    size_t n = s->width / 8 * 16;
    const uint8_t *low = s->tables, *high = s->tables + n;
    uint8x16_t half = vdupq_n_u8(15);
    uint32x4_t sums[4] = {vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0),
                          vdupq_n_u32(0)};
    for (size_t j = 0; j < n;) {
        size_t end = j + STRETCH < n ? j + STRETCH : n;
        uint16x8_t a = vdupq_n_u16(0), b = a;
        for (; j < end; j += 16) {
            uint8x16_t c = vld1q_u8(block + j);
            uint8x16_t p =
                vaddq_u8(vqtbl1q_u8(vld1q_u8(low + j), vandq_u8(c, half)),
                         vqtbl1q_u8(vld1q_u8(high + j), vshrq_n_u8(c, 4)));
            a = vaddw_u8(a, vget_low_u8(p));
            b = vaddw_u8(b, vget_high_u8(p));
        }
        sums[0] = vaddw_u16(sums[0], vget_low_u16(a));
        sums[1] = vaddw_u16(sums[1], vget_high_u16(a));
        sums[2] = vaddw_u16(sums[2], vget_low_u16(b));
        sums[3] = vaddw_u16(sums[3], vget_high_u16(b));
    }
    uint32_t mask = 0;
    for (size_t i = 0; i < 4; i++)
        mask |= estimate_neon(s, block + n + 8 * i, sums[i], estimate + 4 * i,
                              lower + 4 * i)
                << (4 * i);
    return mask;
}

static void dots_neon(const int8_t *rows, size_t stride, size_t n,
                      const int16_t *q16, size_t width, int32_t *out)
{
    for (size_t i = 0; i < n; i++, rows += stride) {
        int32x4_t a = vdupq_n_s32(0), b = a;
        for (size_t k = 0; k < width; k += 16) {
            int8x16_t c = vld1q_s8(rows + k);
            int16x8_t x = vmovl_s8(vget_low_s8(c));
            int16x8_t y = vmovl_s8(vget_high_s8(c));
            int16x8_t p = vld1q_s16(q16 + k), q = vld1q_s16(q16 + k + 8);
            a = vmlal_s16(a, vget_low_s16(x), vget_low_s16(p));
            b = vmlal_s16(b, vget_high_s16(x), vget_high_s16(p));
            a = vmlal_s16(a, vget_low_s16(y), vget_low_s16(q));
            b = vmlal_s16(b, vget_high_s16(y), vget_high_s16(q));
        }
        out[i] = vaddvq_s32(vaddq_s32(a, b));
    }
}

static const struct rabitq_kernels neon = {"neon", scan_neon, dots_neon};
#endif

const struct rabitq_kernels *rabitq_kernels_at(size_t i)
{
    if (i == 0) return &portable;
#if HAVE_X86
    if (i == 1 && __builtin_cpu_supports("avx2")) return &avx2;
    if (i == 2 && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return &avx512;
#endif
#if HAVE_NEON
    if (i == 1) return &neon;
#endif
    return NULL;
}

const struct rabitq_kernels *rabitq_kernels(void)
{
    const struct rabitq_kernels *best = &portable, *k;
    for (size_t i = 1; (k = rabitq_kernels_at(i)) != NULL; i++) best = k;
    return best;
}
