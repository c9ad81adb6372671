#include "retrieval/stem_cut.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"

/* Bytes of ASCII behind the last other one, before unicode61 is left: a call of
 * it takes as long as some words. */
enum { APART = 32 };

/* Fowler, Noll and Vo's, 1a. */
static const uint32_t hash_start = 2166136261u, hash_factor = 16777619u;

/* Letters and digits of ASCII in lower case; 0: none. */
static const char plain[256] = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                               "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                               "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                               "0123456789\0\0\0\0\0\0"
                               "\0abcdefghijklmno"
                               "pqrstuvwxyz\0\0\0\0\0"
                               "\0abcdefghijklmno"
                               "pqrstuvwxyz\0\0\0\0\0";

uint32_t stem_hash(const char *s, size_t n)
{
    uint32_t h = hash_start;
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * hash_factor;
    return h;
}

/* ---- room -----------------------------------------------------------------
 */

static int grow(void *list_ptr, size_t *cap, size_t need, size_t size)
{
    void *list;
    memcpy(&list, list_ptr, sizeof list);
    if (need <= *cap) return SQLITE_OK;
    size_t more = need + need / 2 + 64;
    void *p = realloc(list, more * size);
    if (!p) return SQLITE_NOMEM;
    memcpy(list_ptr, &p, sizeof p);
    *cap = more;
    /* cppcheck-suppress memleak ; the caller's list has it */
    return SQLITE_OK;
}

void stem_tokens_release(struct stem_tokens *t)
{
    free(t->bytes);
    free(t->list);
    *t = (struct stem_tokens){.n = 0};
}

/* ---- words that unicode61 cuts ---------------------------------------------
 */

static int add_token(struct stem_tokens *t, const char *s, size_t n, int first,
                     int end)
{
    int rc = grow(&t->bytes, &t->cap_bytes, t->n_bytes + n, 1);
    if (rc == SQLITE_OK)
        rc = grow(&t->list, &t->cap, t->n + 1, sizeof *t->list);
    if (rc != SQLITE_OK) return rc;
    t->list[t->n++] =
        (struct stem_token){t->n_bytes, n, first, end, stem_hash(s, n)};
    memcpy(t->bytes + t->n_bytes, s, n);
    t->n_bytes += n;
    return SQLITE_OK;
}

static int is_ideograph(uint32_t c)
{
    return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x9fff) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
}

static int has_ideograph(const char *s, size_t n)
{
    uint32_t c = 0;
    for (size_t i = 0, k; i < n; i += k) {
        k = utf8_next(s + i, n - i, &c);
        if (!k) k = 1, c = 0;
        if (is_ideograph(c)) return 1;
    }
    return 0;
}

/* A word with ideographs: each alone, and what stands between them. They have
 * no case, so bytes of the word are bytes of the text. */
static int split_word(struct stem_tokens *t, const char *s, size_t n, int first)
{
    size_t from = 0;
    int rc = SQLITE_OK;
    for (size_t i = 0, k; i <= n && rc == SQLITE_OK; i += k) {
        uint32_t c = 0;
        k = i < n ? utf8_next(s + i, n - i, &c) : 1;
        if (!k) k = 1;
        if (i < n && !is_ideograph(c)) continue;
        if (i > from)
            rc = add_token(t, s + from, i - from, first + (int)from,
                           first + (int)i);
        if (i < n && rc == SQLITE_OK)
            rc = add_token(t, s + i, k, first + (int)i, first + (int)(i + k));
        from = i + k;
    }
    return rc;
}

static int on_word(void *ctx, int flags, const char *word, int n, int first,
                   int end)
{
    struct stem_tokens *t = ctx;
    (void)flags;
    if (n <= 0 || end < first) return SQLITE_OK;
    first += t->from;
    end += t->from;
    if (end - first == n && (signed char)word[0] < 0 &&
        has_ideograph(word, (size_t)n))
        return split_word(t, word, (size_t)n, first);
    return add_token(t, word, (size_t)n, first, end);
}

/* Where a stretch ends that begins at text[i] and holds other bytes than ASCII:
 * where no word goes on, and such bytes are far behind. */
static int end_of_stretch(const char *text, int i, int n)
{
    int last = i;
    for (; i < n; i++)
        if ((signed char)text[i] < 0)
            last = i;
        else if (i - last >= APART && !plain[(uint8_t)text[i]])
            break;
    return i;
}

/* ---- words of ASCII --------------------------------------------------------
 */

/* The word that stands behind the others' bytes. */
static int add_plain(struct stem_tokens *t, int first, int end, uint32_t hash)
{
    const size_t n = (size_t)(end - first);
    int rc = grow(&t->list, &t->cap, t->n + 1, sizeof *t->list);
    if (rc != SQLITE_OK) return rc;
    t->list[t->n++] = (struct stem_token){t->n_bytes, n, first, end, hash};
    t->n_bytes += n;
    return SQLITE_OK;
}

/* The words of text[*i .. n) until one that holds other bytes, which *i is then
 * the beginning of. */
static int cut_plain(struct stem_tokens *t, const char *text, int *i, int n)
{
    int rc = grow(&t->bytes, &t->cap_bytes, t->n_bytes + (size_t)(n - *i), 1);
    while (rc == SQLITE_OK && *i < n) {
        char *to = t->bytes + t->n_bytes, c;
        uint32_t hash = hash_start;
        int at = *i;
        for (; at < n && (c = plain[(uint8_t)text[at]]); at++) {
            hash = (hash ^ (uint8_t)c) * hash_factor;
            *to++ = c;
        }
        if (at < n && (signed char)text[at] < 0) break;
        if (at > *i) rc = add_plain(t, *i, at, hash);
        *i = at + (at < n);
    }
    return rc;
}

int stem_cut(struct stem_tokens *t, const struct stem_unicode *unicode,
             int flags, const char *text, int n)
{
    int i = 0;
    t->n = t->n_bytes = 0;
    int rc = cut_plain(t, text, &i, n);
    while (rc == SQLITE_OK && i < n) {
        int end = end_of_stretch(text, i, n);
        t->from = i;
        rc = unicode->methods.xTokenize(unicode->self, t, flags, text + i,
                                        end - i, on_word);
        i = end;
        if (rc == SQLITE_OK) rc = cut_plain(t, text, &i, n);
    }
    return rc;
}
