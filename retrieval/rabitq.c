#include "common/tensor/vectorise.h"

#include "retrieval/rabitq.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3, STRANDS = 16, GROUP = 4, GROUP_SUM_MAX = 123 };

/* Below it a number is as good as zero: its inverse must be finite. */
static const float tiny = 1e-30F;

struct rabitq {
    size_t dim, width;
    size_t reach; /* largest power of two <= width */
    float scale;  /* of one Hadamard block: 1 / sqrt(reach) */
    bool mixes;   /* the seed has RABITQ_MIXING */
    float *signs; /* [ROUNDS, width], +1 or -1, and as many where it mixes */
};

size_t rabitq_width_for(size_t dim)
{
    return (dim + RABITQ_STEP - 1) / RABITQ_STEP * RABITQ_STEP;
}

static size_t reach_of(size_t width)
{
    size_t reach = RABITQ_STEP;
    while (reach * 2 <= width) reach *= 2;
    return reach;
}

uint64_t rabitq_seed(size_t dim, uint64_t seed)
{
    size_t width = rabitq_width_for(dim), reach = reach_of(width);
    size_t rest = width - reach;
    return rest == 0 || 2 * rest == reach ? seed : seed | RABITQ_MIXING;
}

/* splitmix64: the signs are part of the format, so their generator is, too. */
static uint64_t next_sign(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) >> 63;
}

enum tacit_err rabitq_new(size_t dim, uint64_t seed, struct rabitq **out)
{
    if (dim == 0 || dim > RABITQ_DIM_MAX)
        return fail(TACIT_SHAPE, "a vector has 1 to %d numbers, not %zu",
                    RABITQ_DIM_MAX, dim);
    struct rabitq *rq = calloc(1, sizeof *rq);
    size_t width = rabitq_width_for(dim);
    bool mixes = seed & RABITQ_MIXING;
    size_t n_signs = ROUNDS * width * (mixes ? 2 : 1);
    float *signs = malloc(n_signs * sizeof *signs);
    if (rq == NULL || signs == NULL) {
        free(rq);
        free(signs);
        return fail(TACIT_NOMEM, "no memory for a rotation of %zu", dim);
    }
    rq->dim = dim;
    rq->width = width;
    rq->signs = signs;
    rq->reach = reach_of(width);
    rq->mixes = mixes;
    rq->scale = 1 / sqrtf((float)rq->reach);
    uint64_t state = seed ^ (uint64_t)dim << 32;
    for (size_t i = 0; i < n_signs; i++)
        signs[i] = next_sign(&state) ? 1.0F : -1.0F;
    *out = rq;
    return TACIT_OK;
}

void rabitq_free(struct rabitq *rq)
{
    if (rq == NULL) return;
    free(rq->signs);
    free(rq);
}

typedef float sixteen __attribute__((vector_size(64)));

/* Sums, and differences under a sign of -1, of v and what it is paired with. */
static inline void butterfly(sixteen *v, const sixteen *sign,
                             const sixteen *pair)
{
    *v = *v * *sign + *pair;
}

/* The numbers that are 1, 2, 4, 8 apart, one after another. */
static inline void hadamard_sixteen(sixteen *v)
{
    static const sixteen signs[4] = {
        {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1},
        {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1},
        {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1},
        {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1}};
    sixteen pair = __builtin_shufflevector(*v, *v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8,
                                           11, 10, 13, 12, 15, 14);
    butterfly(v, &signs[0], &pair);
    pair = __builtin_shufflevector(*v, *v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9,
                                   14, 15, 12, 13);
    butterfly(v, &signs[1], &pair);
    pair = __builtin_shufflevector(*v, *v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14,
                                   15, 8, 9, 10, 11);
    butterfly(v, &signs[2], &pair);
    pair = __builtin_shufflevector(*v, *v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1,
                                   2, 3, 4, 5, 6, 7);
    butterfly(v, &signs[3], &pair);
}

/* x = H x / sqrt(n), n a power of two, at least 16. */
MANY_TARGETS static void hadamard(float *restrict x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i += 16) {
        sixteen v;
        memcpy(&v, x + i, sizeof v);
        hadamard_sixteen(&v);
        v *= scale;
        memcpy(x + i, &v, sizeof v);
    }
    for (size_t half = 16; half < n; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half) {
            float *restrict a = x + i, *restrict b = x + i + half;
            for (size_t k = 0; k < half; k += 16)
                for (size_t l = k; l < k + 16; l++) {
                    float s = a[l] + b[l], d = a[l] - b[l];
                    a[l] = s;
                    b[l] = d;
                }
        }
}

MANY_TARGETS static void flip(float *restrict x, const float *restrict signs,
                              size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] *= signs[i];
}

/* Numbers width / 2 apart. Done twice it is undone. */
MANY_TARGETS static void halves_mix(float *restrict x, size_t width)
{
    const float scale = 0.70710678F; /* sqrt(1 / 2) */
    float *restrict a = x, *restrict b = x + width / 2;
    for (size_t i = 0; i < width / 2; i++) {
        float s = (a[i] + b[i]) * scale, d = (a[i] - b[i]) * scale;
        a[i] = s;
        b[i] = d;
    }
}

void rabitq_rotate(const struct rabitq *rq, const float *v, float *x)
{
    memcpy(x, v, rq->dim * sizeof *x);
    memset(x + rq->dim, 0, (rq->width - rq->dim) * sizeof *x);
    size_t rest = rq->width - rq->reach;
    const float *between = rq->signs + ROUNDS * rq->width;
    for (size_t i = 0; i < ROUNDS; i++) {
        flip(x, rq->signs + i * rq->width, rq->width);
        hadamard(x, rq->reach, rq->scale);
        if (rq->mixes) flip(x, between + i * rq->width, rq->width);
        if (rest > 0) hadamard(x + rest, rq->reach, rq->scale);
        if (rq->mixes) halves_mix(x, rq->width);
    }
}

void rabitq_unrotate(const struct rabitq *rq, float *x, float *v)
{
    size_t rest = rq->width - rq->reach;
    const float *between = rq->signs + ROUNDS * rq->width;
    for (size_t i = ROUNDS; i-- > 0;) {
        if (rq->mixes) halves_mix(x, rq->width);
        if (rest > 0) hadamard(x + rest, rq->reach, rq->scale);
        if (rq->mixes) flip(x, between + i * rq->width, rq->width);
        hadamard(x, rq->reach, rq->scale);
        flip(x, rq->signs + i * rq->width, rq->width);
    }
    memcpy(v, x, rq->dim * sizeof *v);
}

static float strands_sum(const float *s)
{
    float sum = 0;
    for (size_t i = 0; i < STRANDS; i++) sum += s[i];
    return sum;
}

MANY_TARGETS static float largest(const float *restrict x, size_t n)
{
    float top[STRANDS] = {0};
    for (size_t i = 0; i < n; i += STRANDS)
        for (size_t k = 0; k < STRANDS; k++) {
            float a = fabsf(x[i + k]);
            top[k] = a > top[k] ? a : top[k];
        }
    float best = 0;
    for (size_t k = 0; k < STRANDS; k++) best = top[k] > best ? top[k] : best;
    return best;
}

/* Round to the nearest, ties to even, for |x| < 2^22: as every processor does.
 */
static inline float nearest(float x)
{
    const float magic = 12582912.0F; /* 1.5 * 2^23 */
    return (x + magic) - magic;
}

/* sums[0] = sum of codes², sums[1] = sum of (x / scale - code)². */
MANY_TARGETS static void bytes_encode(const float *restrict x, size_t width,
                                      float inverse, int8_t *restrict codes,
                                      float sums[2])
{
    float size[STRANDS] = {0}, error[STRANDS] = {0};
    for (size_t i = 0; i < width; i += STRANDS)
        for (size_t k = 0; k < STRANDS; k++) {
            float y = x[i + k] * inverse, c = nearest(y);
            size[k] += c * c;
            error[k] += (y - c) * (y - c);
            codes[i + k] = (int8_t)c;
        }
    sums[0] = strands_sum(size);
    sums[1] = strands_sum(error);
}

struct rabitq_row rabitq_row_encode(const float *x, size_t width, int8_t *codes)
{
    float top = largest(x, width), sums[2];
    if (top < tiny) {
        memset(codes, 0, width);
        return (struct rabitq_row){0, 0};
    }
    float scale = top / 127;
    bytes_encode(x, width, 127 / top, codes, sums);
    return (struct rabitq_row){.scale = scale,
                               .norm2 = scale * scale * (sums[0] - sums[1])};
}

/* sums = |r|^2, sum |r_i|, <b, c>, <c, r> */
MANY_TARGETS static void residual_sums(const float *restrict x,
                                       const float *restrict c, size_t width,
                                       uint8_t *restrict signs, float *sums)
{
    float size[STRANDS] = {0}, reach[STRANDS] = {0};
    float bits[STRANDS] = {0}, along[STRANDS] = {0};
    for (size_t i = 0; i < width; i += STRANDS)
        for (size_t k = 0; k < STRANDS; k++) {
            float r = x[i + k] - c[i + k];
            size[k] += r * r;
            reach[k] += fabsf(r);
            bits[k] += r >= 0 ? c[i + k] : -c[i + k];
            along[k] += r * c[i + k];
            signs[i + k] = r >= 0;
        }
    sums[0] = strands_sum(size);
    sums[1] = strands_sum(reach);
    sums[2] = strands_sum(bits);
    sums[3] = strands_sum(along);
}

static void bits_gather(const uint8_t *signs, size_t width, uint8_t *bits)
{
    for (size_t i = 0; i < width / 8; i++) {
        uint64_t eight;
        memcpy(&eight, signs + 8 * i, sizeof eight);
        /* gathers the lowest bit of each byte */
        bits[i] = (uint8_t)(eight * 0x0102040810204080U >> 56);
    }
}

struct rabitq_entry rabitq_encode_part(const float *x, const float *c,
                                       size_t width, size_t part, uint8_t *bits)
{
    uint8_t signs[RABITQ_DIM_MAX];
    float all[4], s[4], share = (float)width / (float)part;
    residual_sums(x, c, width, signs, all);
    residual_sums(x, c, part, signs, s);
    bits_gather(signs, part, bits);
    float mul = s[1] > tiny ? 2 * share * s[0] / s[1] : 0;
    struct rabitq_entry e = {bf16_encode(all[0] + mul * s[2]),
                             bf16_encode(mul)};
    if (e.mul == 0) e.mul = 1;
    return e;
}

struct rabitq_entry rabitq_encode(enum rabitq_metric metric, const float *x,
                                  const float *c, size_t width, uint8_t *bits)
{
    uint8_t signs[RABITQ_DIM_MAX];
    float s[4];
    residual_sums(x, c, width, signs, s);
    bits_gather(signs, width, bits);
    float size = s[0], f = s[1] > tiny ? size / s[1] : 0;
    float mul = metric == RABITQ_L2 ? 2 * f : f;
    float add = metric == RABITQ_L2 ? size + mul * s[2] : mul * s[2] - s[3];
    struct rabitq_entry e = {bf16_encode(add), bf16_encode(mul)};
    if (e.mul == 0) e.mul = 1; /* the least positive number: live */
    return e;
}

enum tacit_err rabitq_query_new(size_t width, struct rabitq_query **out)
{
    struct rabitq_query *q = NULL;
    size_t tables = width / 8 * 32;
    if (posix_memalign((void **)&q, 64,
                       (sizeof *q + 63) / 64 * 64 + tables +
                           width * sizeof(int16_t)) != 0)
        return fail(TACIT_NOMEM, "no memory for a query of %zu", width);
    uint8_t *at = (uint8_t *)q + (sizeof *q + 63) / 64 * 64;
    memset(q, 0, sizeof *q);
    q->width = width;
    q->tables = at;
    q->q16 = (int16_t *)(void *)(at + tables);
    memset(at, 0, tables + width * sizeof(int16_t));
    *out = q;
    return TACIT_OK;
}

void rabitq_query_free(struct rabitq_query *q)
{
    free(q);
}

MANY_TARGETS static float square_sum(const float *restrict x, size_t n)
{
    float sum[STRANDS] = {0};
    for (size_t i = 0; i < n; i += STRANDS)
        for (size_t k = 0; k < STRANDS; k++) sum[k] += x[i + k] * x[i + k];
    return strands_sum(sum);
}

MANY_TARGETS static void words_round(const float *restrict x, size_t n,
                                     float inverse, int16_t *restrict out)
{
    for (size_t i = 0; i < n; i++) out[i] = (int16_t)nearest(x[i] * inverse);
}

/* The largest sum of the absolute values of four neighbours. */
MANY_TARGETS static float largest_group(const float *x, size_t n)
{
    float top = 0;
    for (size_t i = 0; i < n; i += GROUP) {
        float sum =
            fabsf(x[i]) + fabsf(x[i + 1]) + fabsf(x[i + 2]) + fabsf(x[i + 3]);
        top = sum > top ? sum : top;
    }
    return top;
}

static const uint64_t bytes_of_all = 0x0101010101010101U;
static const uint64_t bytes_with_bit[] = {0x0100010001000100U,
                                          0x0101000001010000U,
                                          0x0101010100000000U};

/* As words_round(), of less than 2^7. */
MANY_TARGETS static void ints_round(const float *restrict x, size_t n,
                                    float inverse, int32_t *restrict out)
{
    for (size_t i = 0; i < n; i++) out[i] = (int32_t)nearest(x[i] * inverse);
}

/* table[p] = sum of q_i over the set bits i of p, less the least such sum,
 * which is returned. */
static int group_table(const int32_t *q, uint8_t *table)
{
    int low = 0;
    for (size_t i = 0; i < GROUP; i++) low += q[i] < 0 ? q[i] : 0;
    /* Eight sums in a word, byte p that of p: none is below 0 or over 127 at
     * any step, so that nothing is carried into the next. */
    uint64_t sums = bytes_of_all * (uint64_t)-low;
    for (size_t i = 0; i + 1 < GROUP; i++)
        sums += bytes_with_bit[i] * (uint64_t)q[i];
    memcpy(table, &sums, sizeof sums);
    sums += bytes_of_all * (uint64_t)q[GROUP - 1];
    memcpy(table + sizeof sums, &sums, sizeof sums);
    return low;
}

void rabitq_query_set(struct rabitq_query *q, const float *x)
{
    int32_t ints[RABITQ_DIM_MAX];
    size_t width = q->width, bytes = width / 8;
    float top = largest(x, width), group = largest_group(x, width);
    q->norm2 = square_sum(x, width);
    if (top < tiny) top = group = tiny;
    q->scale = top / RABITQ_QUERY_MAX;
    words_round(x, width, RABITQ_QUERY_MAX / top, q->q16);
    float level = group / GROUP_SUM_MAX;
    ints_round(x, width, GROUP_SUM_MAX / group, ints);
    int low = 0, whole = 0;
    for (size_t i = 0; i < width; i++) whole += ints[i];
    for (size_t i = 0; i < bytes; i++) {
        uint8_t *table = q->tables + 16 * i;
        low += group_table(ints + 8 * i, table);
        low += group_table(ints + 8 * i + 4, table + 16 * bytes);
    }
    q->gain = 2 * level;
    q->offset = level * (float)(2 * low - whole);
}

/* The first entry of a group's table is - its least sum, the last adds all. */
float rabitq_query_part(const struct rabitq_query *q, size_t part,
                        uint8_t *tables)
{
    size_t bytes = part / 8;
    int low = 0, whole = 0;
    memcpy(tables, q->tables, 16 * bytes);
    memcpy(tables + 16 * bytes, q->tables + 2 * q->width, 16 * bytes);
    for (size_t i = 0; i < 2 * bytes; i++) {
        low -= tables[16 * i];
        whole += tables[16 * i + 15] - tables[16 * i];
    }
    return q->gain / 2 * (float)(2 * low - whole);
}
