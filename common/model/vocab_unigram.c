/*
 * SentencePiece's unigram: of all ways to cut a text into pieces, the one whose
 * scores (logarithms of probabilities) have the largest sum; Viterbi.
 *
 *   best[end] = max over pieces that end there of best[start] + score
 *
 * Kudo 2018, "Subword Regularization", without the sampling. A character that
 * is no piece costs the lowest score less 10. Sums are of 32 bits, as in the
 * library, so that ties fall alike.
 */
#include <stdlib.h>

#include "common/base/utf8.h"
#include "common/model/vocab_state.h"

struct cell {
    float score;
    int32_t id; /* of the piece that ends here */
    uint32_t from;
    uint32_t set;
};

static void offer(struct cell *to, float score, int32_t id, size_t from)
{
    if (to->set && !(score > to->score)) return;
    *to = (struct cell){score, id, (uint32_t)from, 1};
}

static void forward(const struct vocab *v, const char *text, size_t n,
                    struct cell *cell)
{
    for (size_t at = 0; at < n;) {
        float here = cell[at].score;
        size_t step = utf8_next(text + at, n - at, NULL);
        uint32_t node = 0;
        int single = 0;
        if (step == 0) step = 1;
        for (size_t i = at; i < n; i++) {
            node = vocab_trie_step(&v->pieces, node, (uint8_t)text[i]);
            if (node == 0) break;
            int32_t id = v->pieces.end[node];
            if (id < 0 || v->token[id].class == VOCAB_UNUSED) continue;
            float score = v->token[id].score;
            if (v->token[id].class == VOCAB_USER)
                score = (float)(i + 1 - at) * v->best_score - 0.1f;
            offer(&cell[i + 1], here + score, id, at);
            single |= i + 1 - at == step;
        }
        if (!single)
            offer(&cell[at + step], here + v->unknown_score, VOCAB_NONE, at);
        at += step;
    }
}

static enum tacit_err emit(const struct vocab *v, const char *text, size_t n,
                           int32_t id, int *after_unknown,
                           struct vocab_ids *out)
{
    int before = *after_unknown;
    *after_unknown = id < 0;
    if (id >= 0) return vocab_ids_put(out, id);
    if (!v->byte_fallback)
        return before ? TACIT_OK : vocab_ids_put(out, v->marks.unk);
    for (size_t i = 0; i < n; i++) {
        int32_t byte = v->byte[(unsigned char)text[i]];
        TRY(vocab_ids_put(out, byte >= 0 ? byte : v->marks.unk));
    }
    return TACIT_OK;
}

static enum tacit_err encode(const struct vocab *v, const char *text, size_t n,
                             struct vocab_ids *out)
{
    struct cell *cell = calloc(n + 1, sizeof *cell);
    if (!cell) return fail(TACIT_NOMEM, "no memory to cut a text into tokens");
    forward(v, text, n, cell);
    /* Turn the way back into a way forth: `set` becomes the end. */
    uint32_t next = (uint32_t)n;
    for (uint32_t at = (uint32_t)n; at > 0;) {
        uint32_t from = cell[at].from;
        cell[at].set = next;
        next = at;
        at = from;
    }
    enum tacit_err err = TACIT_OK;
    int after_unknown = 0;
    uint32_t from = 0;
    for (uint32_t at = next; !err && n > 0; at = cell[at].set) {
        err = emit(v, text + from, at - from, cell[at].id, &after_unknown, out);
        from = at;
        if (at == n) break;
    }
    free(cell);
    return err;
}

enum tacit_err vocab_encode_unigram(const struct vocab *v,
                                    const struct vocab_fragment *f,
                                    struct vocab_ids *out)
{
    struct buf text;
    buf_init(&text, 0);
    vocab_normalise(v, f, &text);
    enum tacit_err err = buf_end(&text);
    if (!err) err = encode(v, (const char *)text.data, text.len, out);
    buf_release(&text);
    return err;
}
