#include "common/tensor/vectorise.h"

#include "common/privacy/ring.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/crypto/prg.h"

/* Fixed-point steps of a metric: 2^23 / clients_max fit one client. */
static double metric_scale(const struct ring_layout *l)
{
    return (double)ring_limit(l) / l->metric_max;
}

uint32_t ring_coords(const struct ring_layout *l)
{
    return l->n_params + 2 + l->n_metrics + RING_CHECKS;
}

uint32_t ring_limit(const struct ring_layout *l)
{
    /* Largest q with clients_max * 2^(q-1) < 2^(ring_bits-1); float deltas
     * carry 24 bits, more would be noise. */
    unsigned q = 2;
    while (q < 25 && (uint64_t)l->clients_max << q < (uint64_t)1
                                                         << (l->ring_bits - 1))
        q++;
    return ((uint32_t)1 << (q - 1)) - 1;
}

static uint32_t ring_mask(uint32_t ring_bits)
{
    return ring_bits == 32 ? UINT32_MAX : ((uint32_t)1 << ring_bits) - 1;
}

static uint32_t to_ring(int64_t v, uint32_t ring_bits)
{
    return (uint32_t)v & ring_mask(ring_bits);
}

/* Centred representative of a sum. */
static int64_t from_ring(uint32_t v, uint32_t ring_bits)
{
    v &= ring_mask(ring_bits);
    int64_t half = (int64_t)1 << (ring_bits - 1);
    return (int64_t)v < half ? (int64_t)v : (int64_t)v - 2 * half;
}

/* The public coefficients r of the linear checks, one block at a time. */
enum { CHECK_BLOCK = 1024 };

static void check_key(const struct digest *transcript, int check,
                      uint8_t key[PRG_KEY])
{
    struct digest d;
    struct digest_state st;
    uint8_t number = (uint8_t)check;
    static const char domain[] = "tacit ring check v1";
    digest_begin(&st);
    digest_add(&st, domain, sizeof domain);
    digest_add(&st, transcript->b, sizeof transcript->b);
    digest_add(&st, &number, 1);
    digest_end(&st, &d);
    memcpy(key, d.b, PRG_KEY);
}

struct coefficients {
    uint32_t r[RING_CHECKS][CHECK_BLOCK];
};

/* sum[k] += factor sum_j r[k][j] y[j], n <= CHECK_BLOCK; all in one pass. */
MANY_TARGETS
static void products(const struct coefficients *c, const uint32_t *y, size_t n,
                     uint32_t factor, uint32_t sum[RING_CHECKS])
{
    _Static_assert(RING_CHECKS == 4, "one sum each");
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (size_t j = 0; j < n; j++) {
        s0 += c->r[0][j] * y[j];
        s1 += c->r[1][j] * y[j];
        s2 += c->r[2][j] * y[j];
        s3 += c->r[3][j] * y[j];
    }
    sum[0] += factor * s0;
    sum[1] += factor * s1;
    sum[2] += factor * s2;
    sum[3] += factor * s3;
}

/* The coefficients of a transcript. They are public, and every input of a sum
 * wants the same: each thread keeps those it used last. */
static const struct coefficients *coefficients(const struct digest *transcript)
{
    static _Thread_local struct {
        int known;
        struct digest of;
        struct coefficients c;
    } kept;
    if (!kept.known || memcmp(&kept.of, transcript, sizeof kept.of) != 0) {
        memset(&kept.c, 0, sizeof kept.c);
        for (int k = 0; k < RING_CHECKS; k++) {
            struct prg_mask key = {.subtract = 0};
            check_key(transcript, k, key.key);
            prg_apply(&key, 1, kept.c.r[k], CHECK_BLOCK, 32);
        }
        kept.of = *transcript;
        kept.known = 1;
    }
    return &kept.c;
}

/* Every check's sum_j r_j y_j over the first n coordinates. The coefficients
 * repeat every CHECK_BLOCK coordinates, rotated by the block's number times an
 * odd constant, so that one short stream serves any length. */
static void check_sums(const struct digest *transcript, const uint32_t *y,
                       size_t n, uint32_t ring_bits, uint32_t sum[RING_CHECKS])
{
    const struct coefficients *c = coefficients(transcript);
    memset(sum, 0, RING_CHECKS * sizeof *sum);
    for (size_t at = 0; at < n; at += CHECK_BLOCK) {
        size_t count = n - at < CHECK_BLOCK ? n - at : CHECK_BLOCK;
        uint32_t factor = 2 * (uint32_t)(at / CHECK_BLOCK) + 1;
        products(c, y + at, count, factor, sum);
    }
    for (int k = 0; k < RING_CHECKS; k++) sum[k] &= ring_mask(ring_bits);
}

/* Sums run in LANES columns, so that they come in vectors. */
enum { LANES = 8 };

MANY_TARGETS
static double square_norm(const float *v, size_t n)
{
    double lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += (double)v[i + k] * (double)v[i + k];
    for (; i < n; i++) sum += (double)v[i] * (double)v[i];
    for (size_t k = 0; k < LANES; k++) sum += lane[k];
    return sum;
}

static enum tacit_err check_finite(const struct ring_layout *l,
                                   const struct ring_update *u, double *norm)
{
    double sum = u->whole ? 0 : square_norm(u->delta, l->n_params);
    if (!isfinite(sum))
        return fail(TACIT_FORMAT, "the update holds NaN or infinity");
    for (uint32_t i = 0; i < l->n_metrics; i++)
        if (!isfinite(u->metrics[i]))
            return fail(TACIT_FORMAT, "metric %u is NaN or infinity", i);
    *norm = sqrt(sum);
    return TACIT_OK;
}

/* A double this large has no digits behind the point, so that adding it rounds
 * to the nearest (ties to even), and its low 32 bits are the integer's. */
#define ROUNDER 6755399441055744.0 /* 1.5 * 2^52 */

static uint32_t low_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (uint32_t)bits;
}

/* Quantise with this factor, |v factor| < 2^31; returns the integer L2 norm
 * squared. It is below 2^53, so that no order of the sum rounds it. */
MANY_TARGETS
static double quantise(const float *v, size_t n, double factor, uint32_t mask,
                       uint32_t *y)
{
    double lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            double r = (double)v[i + k] * factor + ROUNDER;
            y[i + k] = low_bits(r) & mask;
            lane[k] += (r - ROUNDER) * (r - ROUNDER);
        }
    for (; i < n; i++) {
        double r = (double)v[i] * factor + ROUNDER;
        y[i] = low_bits(r) & mask;
        sum += (r - ROUNDER) * (r - ROUNDER);
    }
    for (size_t k = 0; k < LANES; k++) sum += lane[k];
    return sum;
}

/* What an encoder that does not keep to the clip can still send. */
static void saturate(const struct ring_layout *l, const float *delta, double w,
                     uint32_t *y)
{
    double limit = (double)ring_limit(l), factor = limit / l->clip * w;
    for (uint32_t i = 0; i < l->n_params; i++) {
        double v = nearbyint((double)delta[i] * factor);
        v = v > limit ? limit : v < -limit ? -limit : v;
        y[i] = to_ring((int64_t)v, l->ring_bits);
    }
}

/* Whole numbers as they are; their norm in units of the layout's scale. */
static double place(const struct ring_layout *l, const int32_t *whole,
                    uint32_t *y)
{
    double sum = 0;
    for (uint32_t i = 0; i < l->n_params; i++) {
        y[i] = to_ring(whole[i], l->ring_bits);
        sum += (double)whole[i] * (double)whole[i];
    }
    return sqrt(sum) * l->clip / (double)ring_limit(l);
}

/* Clip, weigh and round, so that the integer norm holds too. */
static void bound(const struct ring_layout *l, const struct ring_update *u,
                  double w, uint32_t *y)
{
    uint32_t mask = ring_mask(l->ring_bits);
    double limit = (double)ring_limit(l);
    double shrink = u->norm > l->clip ? l->clip / u->norm : 1.0;
    double factor = limit / l->clip * shrink * w;
    /* Rounding may push the integer norm over the bound by up to
     * sqrt(n_params)/2: scale down until it holds. */
    double most = limit * w + 0.5;
    double got = sqrt(quantise(u->delta, l->n_params, factor, mask, y));
    for (int i = 0; got > most && i < 64; i++) {
        factor *= most / got * (1 - 1e-9);
        got = sqrt(quantise(u->delta, l->n_params, factor, mask, y));
    }
    if (got > most) memset(y, 0, l->n_params * sizeof *y);
    if (u->unclipped) saturate(l, u->delta, w, y);
}

enum tacit_err ring_encode(const struct ring_layout *l, struct ring_update *u,
                           const struct digest *transcript, uint32_t *y)
{
    assert(l->n_metrics <= RING_METRICS_MAX);
    assert((uint64_t)l->clients_max * RING_WEIGHT_MAX <
           (uint64_t)1 << (l->ring_bits - 1));
    if (u->weight < 1 || u->weight > RING_WEIGHT_MAX)
        return fail(TACIT_LIMIT, "a weight of %u; 1 to %d fit", u->weight,
                    RING_WEIGHT_MAX);
    TRY(check_finite(l, u, &u->norm));
    double w = (double)u->weight / RING_WEIGHT_MAX;
    if (u->whole)
        u->norm = place(l, u->whole, y);
    else
        bound(l, u, w, y);
    uint32_t at = l->n_params;
    y[at++] = 1;
    y[at++] = u->weight;
    for (uint32_t i = 0; i < l->n_metrics; i++) {
        double m = u->metrics[i];
        if (m > l->metric_max) m = l->metric_max;
        if (m < -l->metric_max) m = -l->metric_max;
        y[at++] =
            to_ring((int64_t)nearbyint(m * w * metric_scale(l)), l->ring_bits);
    }
    check_sums(transcript, y, at, l->ring_bits, y + at);
    return TACIT_OK;
}

MANY_TARGETS
static void decode_params(const uint32_t *sum, size_t n, uint32_t ring_bits,
                          double scale, float *mean)
{
    /* At the top of a word the sign bit is the word's. */
    uint32_t up = 32 - ring_bits;
    double low = ldexp(scale, -(int)up);
    for (size_t i = 0; i < n; i++)
        mean[i] = (float)((double)(int32_t)(sum[i] << up) * low);
}

enum tacit_err ring_decode(const struct ring_layout *l, const uint32_t *sum,
                           uint32_t n_clients, const struct digest *transcript,
                           float *mean, struct ring_mean *out)
{
    uint32_t at = l->n_params, mask = ring_mask(l->ring_bits);
    uint32_t body = at + 2 + l->n_metrics;
    if (n_clients == 0 || n_clients > l->clients_max)
        return fail(TACIT_LIMIT, "a sum over %u clients; 1 to %u fit",
                    n_clients, l->clients_max);
    uint32_t want[RING_CHECKS];
    check_sums(transcript, sum, body, l->ring_bits, want);
    for (int k = 0; k < RING_CHECKS; k++)
        if (want[k] != (sum[body + (uint32_t)k] & mask))
            return fail(TACIT_AUTH, "check %d of the sum does not hold", k);
    if ((sum[at] & mask) != n_clients)
        return fail(TACIT_AUTH, "the sum counts %u clients, not %u",
                    sum[at] & mask, n_clients);
    uint32_t weight = sum[at + 1] & mask;
    if (weight < n_clients || weight > n_clients * RING_WEIGHT_MAX)
        return fail(TACIT_AUTH, "the sum of weights is %u", weight);
    double w = (double)weight / RING_WEIGHT_MAX;
    double scale = l->clip / ((double)ring_limit(l) * w);
    decode_params(sum, l->n_params, l->ring_bits, scale, mean);
    *out = (struct ring_mean){.n_clients = n_clients, .weight = weight};
    for (uint32_t i = 0; i < l->n_metrics; i++)
        out->metrics[i] = (double)from_ring(sum[at + 2 + i], l->ring_bits) /
                          (metric_scale(l) * w);
    return TACIT_OK;
}

MANY_TARGETS
void ring_add(uint32_t *sum, const uint32_t *y, size_t n, uint32_t ring_bits)
{
    uint32_t mask = ring_mask(ring_bits);
    for (size_t i = 0; i < n; i++) sum[i] = (sum[i] + y[i]) & mask;
}

void ring_pack(uint8_t *out, const uint32_t *y, size_t n, uint32_t ring_bits)
{
    uint32_t width = ring_bits / 8;
    for (size_t i = 0; i < n; i++)
        for (uint32_t b = 0; b < width; b++)
            *out++ = (uint8_t)(y[i] >> (8 * b));
}

void ring_unpack(uint32_t *y, const uint8_t *in, size_t n, uint32_t ring_bits)
{
    uint32_t width = ring_bits / 8;
    for (size_t i = 0; i < n; i++) {
        uint32_t v = 0;
        for (uint32_t b = 0; b < width; b++) v |= (uint32_t)*in++ << (8 * b);
        y[i] = v;
    }
}
