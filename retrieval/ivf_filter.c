#include "common/base/sorted.h"
#include "common/tensor/vectorise.h"

#include "retrieval/ivf_state.h"

enum tacit_err ivf_filter_check(const struct ivf *ix,
                                const struct ivf_filter *f)
{
    if (f == NULL) return TACIT_OK;
    if (f->n_terms > IVF_TERMS_MAX)
        return fail(TACIT_LIMIT, "a filter of %zu terms, at most %d",
                    f->n_terms, IVF_TERMS_MAX);
    for (size_t i = 0; i < f->n_terms; i++)
        if (f->terms[i].column >= ix->shape.columns)
            return fail(TACIT_SHAPE, "filter column %u of %zu",
                        f->terms[i].column, ix->shape.columns);
    return TACIT_OK;
}

bool ivf_among(const int64_t *set, size_t n, int64_t v)
{
    return sorted_find(set, n, v) < n;
}

static bool word_passes(const struct ivf_term *t, int64_t word)
{
    bool in = t->set != NULL ? ivf_among(t->set, t->n, word)
                             : word >= t->lo && word <= t->hi;
    return in != t->negate;
}

bool ivf_filter_words(const struct ivf_filter *f, const int64_t *words)
{
    for (size_t i = 0; i < f->n_terms; i++)
        if (!word_passes(&f->terms[i], words[f->terms[i].column])) return false;
    return true;
}

MANY_TARGETS static void range_block(const int64_t *restrict words, int64_t lo,
                                     int64_t hi, uint8_t *restrict in)
{
    for (size_t i = 0; i < IVF_BLOCK; i++)
        in[i] = words[i] >= lo && words[i] <= hi;
}

uint32_t ivf_filter_block(const struct ivf_filter *f,
                          const struct ivf_shape *shape, const uint8_t *block)
{
    uint32_t mask = 0xffff;
    for (size_t k = 0; k < f->n_terms && mask != 0; k++) {
        const struct ivf_term *t = &f->terms[k];
        int64_t words[IVF_BLOCK];
        uint8_t in[IVF_BLOCK] = {0};
        uint32_t pass = 0;
        memcpy(words, block + shape->words + t->column * sizeof words,
               sizeof words);
        if (t->set == NULL)
            range_block(words, t->lo, t->hi, in);
        else
            for (size_t i = 0; i < IVF_BLOCK; i++)
                in[i] = (mask >> i & 1) && ivf_among(t->set, t->n, words[i]);
        for (size_t i = 0; i < IVF_BLOCK; i++)
            pass |= (uint32_t)(in[i] != t->negate) << i;
        mask &= pass;
    }
    return mask;
}
