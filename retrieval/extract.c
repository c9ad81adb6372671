#include "retrieval/extract.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/tensor/kernels.h"
#include "retrieval/corpus_state.h"
#include "retrieval/span.h"

enum {
    SENTENCES_PER_PASSAGE = 2, /* that may be quoted */
    QUOTE_BYTES_MIN = 20,      /* where there are such: a shorter sentence says
                                  little alone */
    NETWORK_SENTENCES = 16     /* that a network reads: some 400 tokens */
};

#define HEADING_SHARE 0.5
#define PASSAGE_SHARE 0.3
#define COSINE_SHARE  0.3
#define ODDS_SHARE    0.2
/* The sentence in which the reader has found the words that answer. */
#define READ_SHARE 1.0
/* A further sentence must come this close to the best one. */
#define KEEP_SHARE 0.6

struct candidate {
    const struct passage *passage;
    size_t rank;  /* of the passage */
    size_t index; /* of the sentence in it */
    struct chunk_sentence at;
    double score;
};

struct writing {
    const struct answer_basis *b;
    struct arena *a;
    struct candidate list[RERANK_MAX * CHUNK_SENTENCES_MAX];
    size_t n;
};

/* Coverage by a sentence, what stands around it counting in part. */
static double coverage(const struct inquiry *q, const struct passage *p,
                       const struct chunk_sentence *at)
{
    double share[QUESTION_TERMS_MAX] = {0}, sum = 0;
    for (size_t i = 0; i < p->n_marks; i++) {
        const struct evidence_mark *m = &p->marks[i];
        int is_here = m->first >= at->text_first && m->end <= at->text_end;
        double s = m->column != COLUMN_TEXT ? HEADING_SHARE
                   : is_here                ? 1
                                            : PASSAGE_SHARE;
        if (m->term < q->question.n_terms && s > share[m->term])
            share[m->term] = s;
    }
    for (size_t t = 0; t < q->question.n_terms; t++)
        sum += share[t] * q->weight[t];
    return q->weight_sum > 0 ? sum / q->weight_sum : 0;
}

static int holds_answer(const struct passage *p,
                        const struct chunk_sentence *at)
{
    return p->is_read && p->answer.first >= at->text_first &&
           p->answer.first < at->text_end;
}

/* The sentences of a passage that are so long become candidates. */
static void quote_passage(struct writing *k, size_t rank, size_t bytes_min)
{
    const struct passage *p = &k->b->passages[rank];
    for (size_t i = 0; i < p->n_sentences; i++) {
        struct candidate *s = &k->list[k->n];
        if (p->sentences[i].text_end - p->sentences[i].text_first < bytes_min)
            continue;
        *s = (struct candidate){.passage = p,
                                .rank = rank,
                                .index = i,
                                .at = p->sentences[i]};
        s->score = coverage(k->b->inquiry, p, &s->at) +
                   ODDS_SHARE * (p->log_odds - k->b->passages[0].log_odds);
        if (holds_answer(p, &s->at)) s->score += READ_SHARE;
        k->n++;
    }
}

static int by_score(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Their nearness to the question. A network reads only those that are ahead
 * without it. */
static enum tacit_err add_cosines(struct writing *k)
{
    struct corpus *c = k->b->c;
    size_t n = k->n;
    struct text *texts = NULL;
    float *v = NULL;
    if (!encoder_is_table(c->encoder) && n > NETWORK_SENTENCES)
        n = NETWORK_SENTENCES;
    if (n < k->n) qsort(k->list, k->n, sizeof *k->list, by_score);
    arena_reset(&c->scratch);
    TRY(arena_alloc(&c->scratch, n + 1, sizeof *texts, &texts));
    TRY(arena_alloc(&c->scratch, n * c->dim + 1, sizeof *v, &v));
    for (size_t i = 0; i < n; i++) {
        const struct chunk_sentence *at = &k->list[i].at;
        texts[i] = (struct text){k->list[i].passage->hit->text + at->text_first,
                                 at->text_end - at->text_first};
    }
    TRY(encoder_embed_all(c->encoder, &c->scratch, texts, n, v));
    for (size_t i = 0; i < n; i++) {
        float cosine =
            kernel_dot(v + i * c->dim, k->b->inquiry->vector, c->dim);
        if (cosine > 0) k->list[i].score += COSINE_SHARE * (double)cosine;
    }
    return TACIT_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int is_repeated(const struct candidate *s, const struct candidate *of)
{
    size_t n = s->at.text_end - s->at.text_first;
    return n == of->at.text_end - of->at.text_first &&
           memcmp(s->passage->hit->text + s->at.text_first,
                  of->passage->hit->text + of->at.text_first, n) == 0;
}

/* Whether a candidate may join what has been picked: no repetition (two
 * licences share sentences), and not all from one passage. */
static int may_join(const struct candidate *picked, size_t n,
                    const struct candidate *s)
{
    size_t n_here = 0;
    for (size_t i = 0; i < n; i++) {
        if (is_repeated(&picked[i], s)) return 0;
        n_here += picked[i].rank == s->rank;
    }
    return n_here < SENTENCES_PER_PASSAGE;
}

/* The best score, what the reader says aside: that others have to come near. */
static double best_unread(const struct writing *k)
{
    double best = -INFINITY;
    for (size_t i = 0; i < k->n; i++) {
        const struct candidate *s = &k->list[i];
        double score = s->score;
        if (holds_answer(s->passage, &s->at)) score -= READ_SHARE;
        if (score > best) best = score;
    }
    return best;
}

static size_t pick(struct writing *k, struct candidate *picked, size_t *n_more)
{
    size_t n = 0;
    *n_more = 0;
    if (k->n == 0) return 0;
    qsort(k->list, k->n, sizeof *k->list, by_score);
    double best = best_unread(k);
    for (size_t i = 0; i < k->n; i++) {
        if (k->list[i].score < KEEP_SHARE * best) break;
        if (!may_join(picked, n, &k->list[i])) continue;
        if (n < ANSWER_SENTENCES_MAX)
            picked[n++] = k->list[i];
        else
            ++*n_more;
    }
    return n;
}

static enum tacit_err draft(struct writing *k, const struct candidate *s,
                            struct answer_draft *out)
{
    char *copy = NULL;
    TRY(arena_strdup(k->a, s->passage->hit->text + s->at.text_first,
                     s->at.text_end - s->at.text_first, &copy));
    *out = (struct answer_draft){s->rank, s->index, copy, s->score};
    return TACIT_OK;
}

/* The words that the reader found, when they stand in this sentence. */
static enum tacit_err quote_answer(const struct candidate *best,
                                   struct arena *a, const char **out)
{
    const struct passage *p = best->passage;
    char *copy = NULL;
    *out = "";
    if (!holds_answer(p, &best->at)) return TACIT_OK;
    TRY(arena_strdup(a, p->hit->text + p->answer.first,
                     p->answer.end - p->answer.first, &copy));
    *out = copy;
    return TACIT_OK;
}

static enum tacit_err write(const struct answer_basis *b, struct arena *a,
                            struct answer_drafts *out)
{
    struct writing *k = NULL;
    struct candidate picked[ANSWER_SENTENCES_MAX], best;
    TRY(arena_alloc_raw(a, 1, sizeof *k, &k));
    k->b = b;
    k->a = a;
    k->n = 0;
    for (size_t i = 0; i < b->n; i++) quote_passage(k, i, QUOTE_BYTES_MIN);
    /* Notes of a few words each still answer: there is nothing else to quote.
     */
    for (size_t i = 0; i < b->n && k->n == 0; i++) quote_passage(k, i, 1);
    TRY(add_cosines(k));
    out->n = pick(k, picked, &out->n_more);
    if (out->n == 0) return TACIT_OK;
    best = picked[0];
    qsort(picked, out->n, sizeof *picked, by_place);
    for (size_t i = 0; i < out->n; i++) {
        TRY(draft(k, &picked[i], &out->list[i]));
        if (picked[i].rank == best.rank && picked[i].index == best.index)
            out->span_sentence = i;
    }
    if (best.passage->is_read) return quote_answer(&best, a, &out->span);
    return span_find(b->inquiry, best.passage, best.index, a, &out->span);
}

const struct answer_writer extract_writer = {"extract", write};
