#include "retrieval/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"

static int by_grade(const void *a, const void *b)
{
    const int *x = a, *y = b;
    return (*x < *y) - (*x > *y);
}

static double gain(int grade, size_t rank)
{
    return grade > 0 ? grade / log2((double)rank + 1) : 0;
}

enum tacit_err measure_ranking(const int *grades, size_t n_ranked,
                               const int *judged, size_t n_judged, size_t k,
                               struct arena *scratch, struct measures *out)
{
    struct measures m = {0};
    double dcg = 0, best = 0, found = 0, n_relevant = 0;
    int *ideal = NULL;
    TRY(arena_alloc(scratch, n_judged + 1, sizeof *ideal, &ideal));
    for (size_t i = 0; i < n_judged; i++) {
        ideal[i] = judged[i];
        n_relevant += judged[i] > 0;
    }
    qsort(ideal, n_judged, sizeof *ideal, by_grade);
    for (size_t i = 0; i < n_judged && i < k; i++)
        best += gain(ideal[i], i + 1);
    for (size_t i = 0; i < n_ranked; i++) {
        if (i == k) m.recall = found;
        if (grades[i] <= 0) continue;
        found++;
        if (i < k) dcg += gain(grades[i], i + 1);
        if (found == 1) m.mrr = 1 / (double)(i + 1);
        m.map += found / (double)(i + 1);
    }
    if (n_ranked <= k) m.recall = found;
    m.precision = m.recall / (double)k;
    if (n_relevant > 0) {
        m.recall /= n_relevant;
        m.map /= n_relevant;
    }
    m.ndcg = best > 0 ? dcg / best : 0;
    *out = m;
    return TACIT_OK;
}

/* ---- answers -------------------------------------------------------------
 */

static int is_article(const char *s, size_t n)
{
    return (n == 1 && *s == 'a') || (n == 2 && memcmp(s, "an", 2) == 0) ||
           (n == 3 && memcmp(s, "the", 3) == 0);
}

/* ASCII punctuation goes without leaving a blank, as Python's
 * string.punctuation does there. */
static int is_punctuation(char c)
{
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) ||
           (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
}

enum tacit_err measure_normalise(struct arena *a, const char *s,
                                 const char **out)
{
    size_t n = strlen(s), n_kept = 0, end = 0;
    char *kept = NULL;
    TRY(arena_alloc(a, n + 1, 1, &kept));
    for (size_t i = 0; i < n; i++) {
        if (is_punctuation(s[i])) continue;
        int is_blank = s[i] == ' ' || (s[i] >= '\t' && s[i] <= '\r');
        kept[n_kept++] =
            is_blank ? ' '
                     : (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]);
    }
    for (size_t i = 0; i < n_kept;) {
        size_t len = 0;
        while (i < n_kept && kept[i] == ' ') i++;
        while (i + len < n_kept && kept[i + len] != ' ') len++;
        if (len && !is_article(kept + i, len)) {
            if (end) kept[end++] = ' ';
            memmove(kept + end, kept + i, len);
            end += len;
        }
        i += len;
    }
    kept[end] = '\0';
    *out = kept;
    return TACIT_OK;
}

struct piece {
    const char *s;
    size_t n;
};

static int by_text(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->s, y->s, n) : 0;
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static enum tacit_err cut(struct arena *a, const char *s, struct piece **out,
                          size_t *n)
{
    *n = 0;
    TRY(arena_alloc(a, strlen(s) / 2 + 1, sizeof **out, out));
    while (*s) {
        size_t len = strcspn(s, " ");
        (*out)[(*n)++] = (struct piece){s, len};
        s += len + (s[len] == ' ');
    }
    if (*n) qsort(*out, *n, sizeof **out, by_text);
    return TACIT_OK;
}

enum tacit_err measure_answer(struct arena *scratch, const char *got,
                              const char *want, double *exact, double *f1)
{
    struct piece *x = NULL, *y = NULL;
    size_t n_x, n_y, common = 0;
    TRY(cut(scratch, got, &x, &n_x));
    TRY(cut(scratch, want, &y, &n_y));
    *exact = strcmp(got, want) == 0;
    for (size_t i = 0, j = 0; i < n_x && j < n_y;) {
        int order = by_text(&x[i], &y[j]);
        common += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    *f1 = n_x + n_y ? 2 * (double)common / (double)(n_x + n_y) : *exact;
    return TACIT_OK;
}

static int by_score(const void *a, const void *b)
{
    const struct measure_scored *x = a, *y = b;
    return (x->score > y->score) - (x->score < y->score);
}

enum tacit_err measure_auroc(const struct measure_scored *list, size_t n,
                             struct arena *scratch, double *out)
{
    struct measure_scored *sorted = NULL;
    double below = 0, n_positive = 0, wins = 0;
    TRY(arena_alloc(scratch, n + 1, sizeof *sorted, &sorted));
    if (n) memcpy(sorted, list, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_score);
    for (size_t i = 0; i < n;) {
        size_t end = i;
        double positive = 0;
        while (end < n && sorted[end].score <= sorted[i].score)
            positive += sorted[end++].positive;
        double negative = (double)(end - i) - positive;
        wins += positive * (below + negative / 2);
        below += negative;
        n_positive += positive;
        i = end;
    }
    *out = below > 0 && n_positive > 0 ? wins / (below * n_positive) : 0.5;
    return TACIT_OK;
}
