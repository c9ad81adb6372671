#include "retrieval/claim.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "retrieval/cite.h"
#include "retrieval/doubt.h"
#include "retrieval/sentence.h"

enum { SHADOW_MAX = 4 * SENTENCE_BYTES_MAX };

/* ---- where it ends ------------------------------------------------------ */

/* Bytes of a citation at text[i], the blanks before it included; of one that is
 * not finished all that is left. */
static size_t citation_at(const char *text, size_t n, size_t i)
{
    uint64_t unused = 0;
    size_t k = i;
    while (k < n && text[k] == ' ') k++;
    if (k == n || text[k] != '[') return 0;
    size_t len = cite_read(text + k, n - k, &unused);
    if (len) return k + len - i;
    for (size_t m = k + 1; m < n; m++)
        if (!strchr("0123456789, ;-", text[m])) return 0;
    return n - i < CITE_BYTES_MAX ? n - i : 0;
}

size_t claim_length(enum language language, const char *text, size_t n,
                    enum claim_more more)
{
    char shadow[SHADOW_MAX]; /* the text without citations … */
    size_t from[SHADOW_MAX]; /* … and where each byte comes from */
    size_t k = 0, i = 0;
    while (i < n && k < SHADOW_MAX) {
        size_t skip = citation_at(text, n, i);
        if (skip) {
            i += skip;
            continue;
        }
        /* A new line ends what is said, if anything was. */
        if (text[i] == '\n' && k > 0 && i + 1 < n) return i + 1;
        from[k] = i;
        shadow[k] = text[i++];
        if (k > 0 || !strchr(" \n\t", shadow[k])) k++;
    }
    size_t len = k ? sentence_length(language, shadow, k) : 0;
    if (len && len < k) return from[len];
    return more == CLAIM_AT_END ? n : 0;
}

/* ---- what it says ------------------------------------------------------- */

static enum tacit_err strip(struct arena *a, const char *text, size_t n,
                            struct claim *out)
{
    struct buf b;
    char *copy = NULL;
    buf_init(&b, 0);
    for (size_t i = 0; i < n;) {
        size_t k = i;
        while (k < n && text[k] == ' ') k++;
        size_t len = k < n ? cite_read(text + k, n - k, &out->cited) : 0;
        if (len) {
            i = k + len;
            continue;
        }
        buf_put_u8(&b, (uint8_t)text[i++]);
    }
    while (b.len && strchr(" \n\t", b.data[b.len - 1])) b.len--;
    size_t from = 0;
    while (from < b.len && strchr(" \n\t", b.data[from])) from++;
    enum tacit_err err = buf_end(&b);
    if (!err)
        err = arena_strdup(a, b.data ? (const char *)b.data + from : "",
                           b.len - from, &copy);
    buf_release(&b);
    if (!err) out->text = copy;
    return err;
}

/* ---- who says so -------------------------------------------------------- */

/* What one or several passages hold of a claim. */
struct held {
    int anywhere[QUESTION_TERMS_MAX];
    double close; /* largest share that one sentence holds, headings too */
    int denies;   /* that sentence */
};

static double share_of(const struct inquiry *q, const int *has)
{
    double sum = 0;
    if (!(q->weight_sum > 0)) { /* every passage holds these words */
        size_t n = 0;
        for (size_t t = 0; t < q->question.n_terms; t++) n += has[t] != 0;
        return (double)n / (double)q->question.n_terms;
    }
    for (size_t t = 0; t < q->question.n_terms; t++)
        if (has[t]) sum += q->weight[t];
    return sum / q->weight_sum;
}

static void hold(const struct inquiry *q, const struct passage *p,
                 struct held *h)
{
    for (size_t m = 0; m < p->n_marks; m++)
        if (p->marks[m].term < q->question.n_terms)
            h->anywhere[p->marks[m].term] = 1;
    for (size_t i = 0; i < p->n_sentences; i++) {
        const struct chunk_sentence *s = &p->sentences[i];
        int has[QUESTION_TERMS_MAX] = {0};
        for (size_t m = 0; m < p->n_marks; m++) {
            const struct evidence_mark *x = &p->marks[m];
            if (x->term < q->question.n_terms &&
                (x->column != COLUMN_TEXT ||
                 (x->first >= s->text_first && x->end <= s->text_end)))
                has[x->term] = 1;
        }
        double share = share_of(q, has);
        if (share <= h->close) continue;
        h->close = share;
        h->denies = doubt_denies(p->hit->text + s->text_first,
                                 s->text_end - s->text_first);
    }
}

static int has_digit(const char *term)
{
    return term[strcspn(term, "0123456789")] != '\0';
}

static int supports(const struct inquiry *q, const struct held *h,
                    double *support)
{
    const char *text = q->question.text;
    *support = share_of(q, h->anywhere);
    if (*support < CLAIM_SUPPORT || h->close < CLAIM_CLOSE) return 0;
    for (size_t t = 0; t < q->question.n_terms; t++) {
        const char *term = q->question.term[t];
        if (!h->anywhere[t] && (has_digit(term) || doubt_is_name(text, term)))
            return 0;
    }
    return doubt_denies(text, strlen(text)) == h->denies;
}

/* Each passage alone, then the cited ones together. */
static enum tacit_err compare(struct corpus *c, const struct inquiry *q,
                              const struct search_hit *const *hits,
                              size_t n_hits, struct passage *p,
                              struct claim *out)
{
    struct held all = {0};
    double best = 0;
    uint64_t wanted = out->cited ? out->cited : UINT64_MAX;
    for (size_t i = 0; i < n_hits && i < 64; i++) {
        struct held one = {0};
        double support;
        if (!(wanted >> i & 1)) continue;
        TRY(relevance_read(c, q, hits[i], p));
        hold(q, p, &one);
        hold(q, p, &all);
        if (supports(q, &one, &support)) out->supported |= (uint64_t)1 << i;
        if (support > best) best = support;
        if (!out->cited && out->supported) break;
    }
    out->support = best;
    if (!out->cited) {
        out->cited = out->supported;
        out->is_found = out->cited != 0;
    } else if (!out->supported && supports(q, &all, &out->support)) {
        out->supported = out->cited;
    }
    out->is_supported = out->supported != 0;
    return TACIT_OK;
}

enum tacit_err claim_check(struct corpus *c, struct arena *a, const char *text,
                           size_t n, const struct search_hit *const *hits,
                           size_t n_hits, struct claim *out)
{
    struct claim x = {.text = ""};
    struct inquiry *q = NULL;
    struct passage *p = NULL;
    TRY(strip(a, text, n, &x));
    TRY(arena_alloc(a, 1, sizeof *q, &q));
    TRY(arena_alloc(a, 1, sizeof *p, &p));
    const struct search_query query = {.text = x.text};
    enum tacit_err err = relevance_inquire(c, &query, a, q);
    if (err && err_id() == E_QUESTION_EMPTY) {
        err_clear();
        *out = x;
        return TACIT_OK;
    }
    TRY(err);
    x.is_claim = 1;
    TRY(compare(c, q, hits, n_hits, p, &x));
    *out = x;
    return TACIT_OK;
}
