/*
 * BERT's vocab.txt, a token on each line, and what it shares with a
 * tokenizer.json: the spelling of WordPiece's tokens and the names of marks.
 */
#include <string.h>

#include "common/model/vocab_state.h"

enum tacit_err vocab_add_word(struct vocab *v, const char *s, size_t n,
                              unsigned class)
{
    char word[VOCAB_TOKEN_BYTES_MAX + 3] = VOCAB_SPACE;
    if (class != VOCAB_NORMAL || n + 3 > sizeof word)
        return vocab_add(v, s, n, class, 0);
    if (n > 2 && s[0] == '#' && s[1] == '#')
        return vocab_add(v, s + 2, n - 2, class, 0);
    if (n > 2 && s[0] == '[' && s[n - 1] == ']')
        return vocab_add(v, s, n, class, 0);
    memcpy(word + 3, s, n);
    return vocab_add(v, word, n + 3, class, 0);
}

/* ---- marks -------------------------------------------------------------- */

int32_t vocab_find_mark(const struct vocab *v, const char *const *names)
{
    for (; *names; names++)
        for (int32_t i = 0; i < v->n; i++)
            if (v->token[i].class == VOCAB_CONTROL &&
                strlen(*names) == v->token[i].n &&
                memcmp(v->token[i].text, *names, v->token[i].n) == 0)
                return i;
    return VOCAB_NONE;
}

void vocab_name_marks(struct vocab *v)
{
    static const char *const bos[] = {"<s>", "<|begin_of_text|>",
                                      "<|endoftext|>", "<|im_start|>", NULL};
    static const char *const eos[] = {"</s>", "<|end_of_text|>",
                                      "<|endoftext|>", "<|im_end|>", NULL};
    static const char *const sep[] = {"[SEP]", NULL}, *const cls[] = {"[CLS]",
                                                                      NULL};
    static const char *const pad[] = {"[PAD]", "<pad>", NULL};
    static const char *const mask[] = {"[MASK]", "<mask>", NULL};
    v->marks.bos = vocab_find_mark(v, bos);
    v->marks.eos = vocab_find_mark(v, eos);
    v->marks.sep = vocab_find_mark(v, sep);
    v->marks.cls = vocab_find_mark(v, cls);
    v->marks.pad = vocab_find_mark(v, pad);
    v->marks.mask = vocab_find_mark(v, mask);
}

enum tacit_err vocab_set_marks(struct vocab *v, int64_t bos, int64_t eos,
                               int64_t pad)
{
    if (bos >= v->n || eos >= v->n || pad >= v->n)
        return fail(TACIT_FORMAT, "the configuration names a token that the "
                                  "tokenizer lacks");
    if (bos >= 0) v->marks.bos = (int32_t)bos;
    if (eos >= 0) v->marks.eos = (int32_t)eos;
    if (pad >= 0) v->marks.pad = (int32_t)pad;
    return TACIT_OK;
}

/* ---- the whole ---------------------------------------------------------- */

enum tacit_err vocab_from_lines(const char *lines, size_t n,
                                enum vocab_case fold, struct vocab **out)
{
    static const char *const marks[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]",
                                        "[MASK]"};
    struct vocab *v = NULL;
    size_t count = n > 0 && lines[n - 1] != '\n';
    for (size_t i = 0; i < n; i++) count += lines[i] == '\n';
    TRY(vocab_new(VOCAB_WORDPIECE, count, &v));
    enum tacit_err err = TACIT_OK;
    for (size_t at = 0; !err && at < n;) {
        const char *end = memchr(lines + at, '\n', n - at);
        size_t len = end ? (size_t)(end - lines) - at : n - at, k = len;
        unsigned class = VOCAB_NORMAL;
        if (k > 0 && lines[at + k - 1] == '\r') k--;
        for (size_t m = 0; m < 5; m++)
            if (strlen(marks[m]) == k && memcmp(marks[m], lines + at, k) == 0) {
                class = m == 1 ? VOCAB_UNKNOWN : VOCAB_CONTROL;
                if (m == 1) v->marks.unk = v->n;
            }
        err = vocab_add_word(v, lines + at, k, class);
        at += len + 1;
    }
    if (!err) {
        vocab_name_marks(v);
        v->fold = fold == VOCAB_CASE_FOLDED;
        v->accents_kept = !v->fold;
        v->add_bos = v->add_eos = 1;
        err = vocab_index(v, 0);
    }
    if (!err) err = vocab_finish(v);
    if (!err)
        *out = v;
    else
        vocab_free(v);
    return err;
}
