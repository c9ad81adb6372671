#include "retrieval/reread.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/tick.h"

/* Title, headings and text as one. */
static enum tacit_err text_of(struct arena *a, const struct search_hit *h,
                              struct text *out)
{
    const struct text parts[] = {{h->title, strlen(h->title)},
                                 {h->heading, strlen(h->heading)},
                                 {h->text, h->text_len}};
    char *s = NULL;
    size_t n = 0;
    TRY(arena_alloc_raw(a, parts[0].n + parts[1].n + parts[2].n + 3, 1, &s));
    for (size_t i = 0; i < 3; i++) {
        memcpy(s + n, parts[i].s, parts[i].n);
        n += parts[i].n;
        if (parts[i].n) s[n++] = ' ';
    }
    *out = (struct text){s, n};
    return TACIT_OK;
}

/* Larger scores first; equal ones stay as they were. */
static int by_score(const void *a, const void *b)
{
    const struct search_hit *x = a, *y = b;
    if (x->rerank > y->rerank) return -1;
    if (x->rerank < y->rerank) return 1;
    return x->rank_before - y->rank_before;
}

enum tacit_err reread_hits(const struct reread *r, const char *question,
                           struct arena *a, struct search_hit *hits, size_t n,
                           struct search_report *report)
{
    int64_t from = tick_ns();
    struct text *texts = NULL;
    float *scores = NULL;
    if (n > r->n) n = r->n;
    TRY(arena_alloc(a, n + 1, sizeof *texts, &texts));
    TRY(arena_alloc(a, n + 1, sizeof *scores, &scores));
    for (size_t i = 0; i < n; i++) TRY(text_of(a, &hits[i], &texts[i]));
    TRY(cross_scores(r->cross, (struct text){question, strlen(question)}, texts,
                     n, scores, &report->n_reread_cut));
    for (size_t i = 0; i < n; i++) {
        hits[i].rerank = (double)scores[i];
        hits[i].rank_before = (int)i + 1;
    }
    if (n) qsort(hits, n, sizeof *hits, by_score);
    report->n_reread = n;
    report->reread_ns = tick_ns() - from;
    return TACIT_OK;
}

/* Whether x belongs before y. */
static int is_before(const struct passage *x, const struct passage *y,
                     double threshold)
{
    int x_reaches = x->confidence >= threshold;
    int y_reaches = y->confidence >= threshold;
    int x_read = x->hit->rank_before > 0, y_read = y->hit->rank_before > 0;
    if (x_reaches != y_reaches) return x_reaches;
    if (x_read != y_read) return x_read;
    return x_read && x->hit->rerank > y->hit->rerank;
}

void reread_order(struct passage *list, size_t n, double threshold)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k && is_before(&list[k], &list[k - 1], threshold);
             k--) {
            struct passage swap = list[k];
            list[k] = list[k - 1];
            list[k - 1] = swap;
        }
}
