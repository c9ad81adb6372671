#include "common/model/text_pair.h"

#include <assert.h>

/* The sequence from `from` on is at most n tokens, the last of which stays. */
static size_t shorten(struct vocab_ids *ids, size_t from, size_t n)
{
    size_t has = ids->n - from;
    if (has <= n) return 0;
    ids->id[from + n - 1] = ids->id[ids->n - 1];
    ids->n = from + n;
    return has - n;
}

enum tacit_err text_pair_encode(const struct vocab *v, struct text question,
                                struct text passage, size_t most,
                                struct vocab_ids *out,
                                struct text_pair_parts *parts)
{
    const struct vocab_marks marks = vocab_marks_of(v);
    int32_t end = marks.sep >= 0 ? marks.sep : marks.eos;
    size_t from = out->n, first = passage.n ? most - most / 4 : most;
    assert(most >= TEXT_PAIR_MIN);
    TRY(vocab_encode(v, question.s, question.n, VOCAB_ADD_SPECIAL, out));
    parts->n_cut = shorten(out, from, first);
    parts->second = out->n - from;
    if (!passage.n) return TACIT_OK;
    TRY(vocab_encode(v, passage.s, passage.n, VOCAB_PLAIN, out));
    if (end >= 0) TRY(vocab_ids_put(out, end));
    parts->n_cut += shorten(out, from, most);
    return TACIT_OK;
}
