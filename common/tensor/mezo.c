#include "common/tensor/vectorise.h"

#include "common/tensor/mezo.h"

#include <string.h>

#include "common/base/rng.h"

enum {
    WORD = 64, /* signs of one number */
    BLOCK =
        16384, /* weights that stay in the cache while all directions pass */
};

/* SplitMix64 (Steele et al. 2014): word i of the stream that starts at x. */
static uint64_t word_at(uint64_t x, uint64_t i)
{
    uint64_t z = x + (i + 1) * 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

uint64_t mezo_direction(uint64_t seed, uint64_t number)
{
    struct rng r;
    rng_init(&r, seed, 0x6d657a6fU, number);
    return rng_u64(&r);
}

/* Bit i of half decides the sign of what is added to w[i], i < 32. */
static inline void move_half(uint32_t half, uint32_t by, float *w)
{
    for (uint32_t i = 0; i < WORD / 2; i++) {
        uint32_t bits = by ^ (half >> i & 1U) << 31;
        float step;
        memcpy(&step, &bits, sizeof step);
        w[i] += step;
    }
}

/* Weights [first, first + n); first is a multiple of WORD. */
MANY_TARGETS
static void move_range(uint64_t direction, float by, float *w, size_t first,
                       size_t n)
{
    uint32_t bits;
    size_t at = 0;
    memcpy(&bits, &by, sizeof bits);
    for (; at + WORD <= n; at += WORD) {
        uint64_t signs = word_at(direction, (first + at) / WORD);
        move_half((uint32_t)signs, bits, w + at);
        move_half((uint32_t)(signs >> 32), bits, w + at + WORD / 2);
    }
    uint64_t signs = word_at(direction, (first + at) / WORD);
    for (size_t i = 0; at + i < n; i++) w[at + i] += signs >> i & 1U ? -by : by;
}

void mezo_move(uint64_t direction, float by, float *w, size_t n)
{
    move_range(direction, by, w, 0, n);
}

void mezo_rebuild(uint64_t seed, const float *by, size_t k, float *w, size_t n)
{
    uint64_t name[WORD]; /* so many directions at a time */
    for (size_t j = 0; j < k; j += WORD) {
        size_t count = k - j < WORD ? k - j : WORD;
        for (size_t i = 0; i < count; i++)
            name[i] = mezo_direction(seed, j + i);
        for (size_t at = 0; at < n; at += BLOCK)
            for (size_t i = 0; i < count; i++)
                if (by[j + i] < 0 || by[j + i] > 0)
                    move_range(name[i], by[j + i], w + at, at,
                               n - at < BLOCK ? n - at : BLOCK);
    }
}

enum tacit_err mezo_look(const struct mezo_loss *l, uint64_t direction,
                         float epsilon, float *w, size_t n,
                         struct mezo_found *out)
{
    float above = 0, below = 0;
    mezo_move(direction, epsilon, w, n);
    enum tacit_err err = l->at(l->ctx, &above);
    mezo_move(direction, -2 * epsilon, w, n);
    if (!err) err = l->at(l->ctx, &below);
    mezo_move(direction, epsilon, w, n);
    *out = (struct mezo_found){.slope = ((double)above - (double)below) /
                                        (2 * (double)epsilon),
                               .loss = (above + below) / 2};
    return err;
}
