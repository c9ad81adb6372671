/*
 * Which passages are quoted. The hits of the search are put in order of their
 * confidence (relevance.h); the best must reach RELEVANCE_THRESHOLD, and a
 * further one must come within KEEP_ODDS of its odds.
 *
 * Which sentences of them. A term counts in full in the sentence itself, by
 * HEADING_SHARE in its heading or title, by PASSAGE_SHARE elsewhere in the
 * passage:
 *
 *   score = sum over terms of share x weight / W
 *           + COSINE_SHARE x cosine(question, sentence)
 *           + ODDS_SHARE x ln(odds of the passage / odds of the best one)
 */
#include "retrieval/answerer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/tensor/kernels.h"
#include "retrieval/corpus_state.h"
#include "retrieval/relevance.h"

enum {
    PASSAGES = 20,             /* that are looked at */
    SENTENCES_PER_PASSAGE = 2, /* that may be quoted */
    QUOTE_BYTES_MIN = 20,      /* a shorter sentence says little alone */
    SNIPPET_BYTES_MAX = 400
};

#define HEADING_SHARE 0.5
#define PASSAGE_SHARE 0.3
#define COSINE_SHARE  0.3
#define ODDS_SHARE    0.2
/* A further sentence must come this close to the best one, a further passage's
 * odds to those of the best one. */
#define KEEP_SHARE 0.6
#define KEEP_ODDS  0.2

struct candidate {
    const struct passage *passage;
    size_t rank;  /* of the passage */
    size_t index; /* of the sentence in it */
    struct chunk_sentence at;
    double score;
};

struct asking {
    struct corpus *c;
    struct arena *a;
    const struct search_query *q;
    struct inquiry inquiry;
    struct passage passages[PASSAGES]; /* most confident first */
    size_t n_passages;
    struct candidate list[PASSAGES * CHUNK_SENTENCES_MAX];
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

static enum tacit_err score_sentence(struct asking *k, struct candidate *s)
{
    float v[ENCODER_DIM];
    const struct passage *p = s->passage;
    size_t n = s->at.text_end - s->at.text_first;
    arena_reset(&k->c->scratch);
    TRY(encoder_embed(k->c->encoder, &k->c->scratch,
                      p->hit->text + s->at.text_first, n, v));
    float cosine = kernel_dot(v, k->inquiry.vector, ENCODER_DIM);
    s->score = coverage(&k->inquiry, p, &s->at) +
               COSINE_SHARE * (double)(cosine > 0 ? cosine : 0) +
               ODDS_SHARE * (p->log_odds - k->passages[0].log_odds);
    return TACIT_OK;
}

/* The sentences of a passage become candidates. */
static enum tacit_err quote_passage(struct asking *k, size_t rank)
{
    const struct passage *p = &k->passages[rank];
    for (size_t i = 0; i < p->n_sentences; i++) {
        struct candidate *s = &k->list[k->n];
        if (p->sentences[i].text_end - p->sentences[i].text_first <
            QUOTE_BYTES_MIN)
            continue;
        *s = (struct candidate){.passage = p,
                                .rank = rank,
                                .index = i,
                                .at = p->sentences[i]};
        TRY(score_sentence(k, s));
        k->n++;
    }
    return TACIT_OK;
}

static int by_score(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
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

static size_t pick(struct asking *k, struct candidate *picked)
{
    size_t n = 0;
    qsort(k->list, k->n, sizeof *k->list, by_score);
    for (size_t i = 0; i < k->n && n < ANSWER_SENTENCES_MAX; i++) {
        if (k->list[i].score < KEEP_SHARE * k->list[0].score) break;
        if (may_join(picked, n, &k->list[i])) picked[n++] = k->list[i];
    }
    qsort(picked, n, sizeof *picked, by_place);
    return n;
}

static enum tacit_err copy_text(struct arena *a, const char *s, size_t n,
                                const char **out)
{
    char *copy = NULL;
    TRY(arena_strdup(a, s, n, &copy));
    *out = copy;
    return TACIT_OK;
}

static enum tacit_err cite(struct asking *k, const struct candidate *s,
                           struct answer *out)
{
    const struct search_hit *h = s->passage->hit;
    struct answer_citation *c =
        out->n_citations ? &out->citations[out->n_citations - 1] : NULL;
    if (!c || c->path != h->path || c->heading != h->heading) {
        c = &out->citations[out->n_citations++];
        *c = (struct answer_citation){
            .number = (int)out->n_citations,
            .path = h->path,
            .title = h->title,
            .heading = h->heading,
            .line_first = s->at.place.line_first,
            .page_first = s->at.place.page_first,
            .byte_first = s->at.place.byte_first,
        };
        size_t n = h->text_len - s->at.text_first;
        if (n > SNIPPET_BYTES_MAX) n = SNIPPET_BYTES_MAX;
        while (n > 0 && n < h->text_len - s->at.text_first &&
               ((unsigned char)h->text[s->at.text_first + n] & 0xc0) == 0x80)
            n--;
        TRY(copy_text(k->a, h->text + s->at.text_first, n, &c->snippet));
    }
    c->line_last = s->at.place.line_last;
    c->page_last = s->at.place.page_last;
    c->byte_end = s->at.place.byte_end;
    struct answer_sentence *sentence = &out->sentences[out->n_sentences++];
    sentence->citation = c->number;
    sentence->score = s->score;
    return copy_text(k->a, h->text + s->at.text_first,
                     s->at.text_end - s->at.text_first, &sentence->text);
}

static int by_confidence(const void *a, const void *b)
{
    const struct passage *x = a, *y = b;
    if (x->log_odds != y->log_odds) return x->log_odds > y->log_odds ? -1 : 1;
    return (x->hit > y->hit) - (x->hit < y->hit);
}

static enum tacit_err ask(struct asking *k, struct answer *out)
{
    struct search_query wide = *k->q;
    struct search_hit *hits = NULL;
    struct candidate picked[ANSWER_SENTENCES_MAX];
    wide.limit = PASSAGES;
    TRY(search_hybrid(k->c, &wide, k->a, &hits, &k->n_passages));
    TRY(relevance_inquire(k->c, k->q, k->a, &k->inquiry));
    for (size_t i = 0; i < k->n_passages; i++)
        TRY(relevance_read(k->c, &k->inquiry, &hits[i], &k->passages[i]));
    if (k->n_passages == 0) return TACIT_OK;
    qsort(k->passages, k->n_passages, sizeof *k->passages, by_confidence);
    out->confidence = k->passages[0].confidence;
    double needed = k->passages[0].log_odds + log(KEEP_ODDS);
    for (size_t i = 0; i < k->n_passages; i++) {
        const struct passage *p = &k->passages[i];
        if (p->confidence < RELEVANCE_THRESHOLD || p->log_odds < needed) break;
        TRY(quote_passage(k, i));
    }
    size_t n = pick(k, picked);
    for (size_t i = 0; i < n; i++) TRY(cite(k, &picked[i], out));
    return TACIT_OK;
}

enum tacit_err answerer_ask(struct corpus *c, const struct search_query *q,
                            struct arena *a, struct answer *out)
{
    struct asking *k = NULL;
    *out = (struct answer){.threshold = RELEVANCE_THRESHOLD};
    TRY(arena_alloc(a, 1, sizeof *k, &k));
    k->c = c;
    k->a = a;
    k->q = q;
    TRY(ask(k, out));
    if (out->n_sentences > 0) return TACIT_OK;
    return fail_as(E_NOTHING_RELEVANT,
                   "nothing in the documents answers this (confidence %.2f, "
                   "needed %.2f)",
                   out->confidence, out->threshold);
}
