#include "retrieval/words_rank.h"

#include <math.h>

#include "common/base/sorted.h"

#define K1      1.2
#define B       0.75
#define IDF_MIN 1e-6

const uint32_t words_weight[WORDS_COLUMNS] = {1, 3, 1};

/* ---- the best so far: a heap whose root is the worst of them -------------
 */

static int is_better(const struct words_hit *a, const struct words_hit *b)
{
    if (a->score != b->score) return a->score > b->score;
    return a->id < b->id;
}

static void sift_down(struct words_hit *h, size_t n, size_t i)
{
    for (;;) {
        size_t worst = i, left = 2 * i + 1, right = left + 1;
        if (left < n && is_better(&h[worst], &h[left])) worst = left;
        if (right < n && is_better(&h[worst], &h[right])) worst = right;
        if (worst == i) return;
        struct words_hit t = h[i];
        h[i] = h[worst];
        h[worst] = t;
        i = worst;
    }
}

static void keep(struct words_query *q, struct words_hit hit)
{
    struct words_hit *h = q->best;
    if (q->n_found == q->n_best) {
        if (!is_better(&hit, &h[0])) return;
        h[0] = hit;
        sift_down(h, q->n_found, 0);
        return;
    }
    size_t i = q->n_found++;
    h[i] = hit;
    for (size_t up; i > 0 && is_better(&h[up = (i - 1) / 2], &h[i]); i = up) {
        struct words_hit t = h[i];
        h[i] = h[up];
        h[up] = t;
    }
}

void words_rank_end(struct words_ranking *r)
{
    struct words_query *q = r->q;
    for (size_t n = q->n_found; n > 1; n--) {
        struct words_hit worst = q->best[0];
        q->best[0] = q->best[n - 1];
        q->best[n - 1] = worst;
        sift_down(q->best, n - 1, 0);
    }
}

/* ---- scores --------------------------------------------------------------
 */

void words_rank_begin(struct words_ranking *r, struct words_query *q)
{
    *r = (struct words_ranking){.q = q};
    q->n_found = q->n_matching = 0;
    for (size_t i = 0; i < q->n_wanted; i++) q->wanted_score[i] = 0;
}

void words_rank_scale(struct words_ranking *r, double n_rows, double n_words)
{
    r->mean_words = n_rows > 0 ? n_words / n_rows : 1;
    if (!(r->mean_words > 0)) r->mean_words = 1;
}

void words_rank_term(struct words_ranking *r, size_t i, double n_rows,
                     double n_held)
{
    r->idf[i] = log((n_rows - n_held + 0.5) / (n_held + 0.5));
    if (!(r->idf[i] > IDF_MIN)) r->idf[i] = IDF_MIN;
}

int words_rank_lets(const struct words_ranking *r, int64_t id)
{
    struct words_query *q = r->q;
    if (q->only && sorted_find(q->only, q->n_only, id) == q->n_only) return 0;
    q->n_matching++;
    return 1;
}

static double score(const struct words_ranking *r, const double *f,
                    double n_words)
{
    double sum = 0, length = n_words / r->mean_words;
    for (size_t i = 0; i < r->n_terms; i++)
        if (f[i] > 0)
            sum += r->idf[i] * f[i] * (K1 + 1) /
                   (f[i] + K1 * (1 - B + B * length));
    return sum;
}

int words_rank_needs(const struct words_ranking *r,
                     const struct words_held *row, double *most)
{
    const struct words_query *q = r->q;
    *most = score(r, row->f, row->n_words_min);
    return q->n_found < q->n_best ||
           is_better(&(struct words_hit){row->id, *most}, &q->best[0]) ||
           sorted_find(q->wanted, q->n_wanted, row->id) < q->n_wanted;
}

void words_rank_take(struct words_ranking *r, const struct words_held *row,
                     double n_words)
{
    struct words_query *q = r->q;
    size_t at = sorted_find(q->wanted, q->n_wanted, row->id);
    struct words_hit hit = {row->id, score(r, row->f, n_words)};
    if (at < q->n_wanted) q->wanted_score[at] = hit.score;
    if (hit.score > 0) keep(q, hit);
}
