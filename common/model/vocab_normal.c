/*
 * SentencePiece's normaliser: a table of replacements, blanks to U+2581.
 *
 *   charsmap: u32 bytes of trie | trie (darts-clone units) | texts, NUL-ended
 *
 * The longest match in the trie gives the offset of its replacement. A unit is
 *   31      30 … 10   9        8     7 … 0
 *   leaf    offset    shift 8  leaf? label
 * and the child for byte b of node p is p ^ offset ^ b.
 */
#include <string.h>

#include "common/base/utf8.h"
#include "common/model/vocab_state.h"

static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* The replacement for the longest prefix of text[n], or NULL. */
static const char *replacement(const struct vocab *v, const char *text,
                               size_t n, size_t *out_len)
{
    uint32_t node = 0, best = 0;
    size_t len = 0;
    if (v->n_charsmap == 0) return NULL;
    node ^= offset_of(v->charsmap[0]);
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)text[i];
        node ^= c;
        if (c == 0 || node >= v->n_charsmap) break;
        uint32_t unit = v->charsmap[node];
        if ((unit & (1u << 31 | 0xff)) != c) break;
        node ^= offset_of(unit);
        if (!(unit & 1u << 8)) continue;
        if (node >= v->n_charsmap) break;
        best = v->charsmap[node] & 0x7fffffff;
        len = i + 1;
    }
    if (len == 0 || best >= v->n_replacements) return NULL;
    *out_len = len;
    return v->replacements + best;
}

/* One step: what stands for the next character or match. */
static size_t next(const struct vocab *v, const char *text, size_t n,
                   const char **out, size_t *out_n)
{
    size_t len = 0;
    const char *r = replacement(v, text, n, &len);
    if (r) {
        *out = r;
        *out_n = strlen(r);
        return len;
    }
    len = utf8_next(text, n, NULL);
    *out = text;
    *out_n = len ? len : 1;
    return *out_n;
}

static void simple(struct buf *out, const char *text, size_t n)
{
    while (n > 0) {
        const char *p = memchr(text, ' ', n);
        size_t k = p ? (size_t)(p - text) : n;
        buf_put(out, text, k);
        if (p) buf_put(out, VOCAB_SPACE, 3);
        text += k + (p != NULL);
        n -= k + (p != NULL);
    }
}

void vocab_normalise(const struct vocab *v, const struct vocab_fragment *f,
                     struct buf *out)
{
    int begins = f->first || !v->prefix_once;
    int prefix = v->space_prefix && begins;
    size_t start = out->len, body;
    if (!v->squeeze && v->n_charsmap == 0) {
        if (prefix) buf_put(out, VOCAB_SPACE, 3);
        simple(out, f->text, f->n);
        return;
    }
    int after_space = v->squeeze && begins, any = 0;
    body = start;
    for (size_t i = 0; i < f->n;) {
        const char *s;
        size_t n;
        i += next(v, f->text + i, f->n - i, &s, &n);
        while (after_space && n > 0 && s[0] == ' ') {
            s++;
            n--;
        }
        if (n == 0) continue;
        if (!any++ && prefix) {
            buf_put(out, VOCAB_SPACE, 3);
            body = out->len;
        }
        simple(out, s, n);
        after_space = v->squeeze && s[n - 1] == ' ';
    }
    while (v->squeeze && f->last && !out->err && out->len >= body + 3 &&
           memcmp(out->data + out->len - 3, VOCAB_SPACE, 3) == 0)
        out->len -= 3;
}
