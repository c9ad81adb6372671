/*
 * Which passages are quoted: the best must reach RELEVANCE_THRESHOLD, and a
 * further one must come within KEEP_ODDS of its odds. Citations of passages
 * that stand side by side in one section are one.
 */
#include "retrieval/answerer.h"

#include <math.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/tick.h"
#include "retrieval/extract.h"
#include "retrieval/passage_reader.h"
#include "retrieval/reread.h"

enum { SNIPPET_BYTES_MAX = 400 };

/* A further passage's odds must come this close to those of the best one. */
#define KEEP_ODDS 0.2

/* Who writes. */
static const struct answer_writer *const writer = &extract_writer;

struct asking {
    struct corpus *c;
    struct arena *a;
    const struct search_query *q;
    struct answer_found *found;
};

static int64_t lap(int64_t *from)
{
    int64_t now = tick_ns(), took = now - *from;
    *from = now;
    return took;
}

static enum tacit_err copy_text(struct arena *a, const char *s, size_t n,
                                const char **out)
{
    char *copy = NULL;
    TRY(arena_strdup(a, s, n, &copy));
    *out = copy;
    return TACIT_OK;
}

/* What stands at the sentence, cut between two characters. */
static enum tacit_err snip(struct arena *a, const struct search_hit *h,
                           size_t from, const char **out)
{
    size_t n = h->text_len - from;
    if (n > SNIPPET_BYTES_MAX) n = SNIPPET_BYTES_MAX;
    while (n > 0 && n < h->text_len - from &&
           ((unsigned char)h->text[from + n] & 0xc0) == 0x80)
        n--;
    return copy_text(a, h->text + from, n, out);
}

static int is_beside(const struct answer_citation *c,
                     const struct search_hit *h)
{
    return strcmp(c->path, h->path) == 0 &&
           strcmp(c->heading, h->heading) == 0 &&
           h->chunk_id >= c->chunk_first - 1 &&
           h->chunk_id <= c->chunk_last + 1;
}

static enum tacit_err new_citation(struct asking *k, const struct search_hit *h,
                                   const struct chunk_sentence *at,
                                   struct answer *out,
                                   struct answer_citation **made)
{
    struct answer_citation *c = &out->citations[out->n_citations++];
    *c = (struct answer_citation){
        .number = (int)out->n_citations,
        .path = h->path,
        .title = h->title,
        .heading = h->heading,
        .page_first = at->place.page_first,
        .page_last = at->place.page_last,
        .line_first = at->place.line_first,
        .line_last = at->place.line_last,
        .byte_first = at->place.byte_first,
        .byte_end = at->place.byte_end,
        .chunk_first = h->chunk_id,
        .chunk_last = h->chunk_id,
    };
    *made = c;
    return snip(k->a, h, at->text_first, &c->snippet);
}

static void widen(struct answer_citation *c, const struct search_hit *h,
                  const struct place *p)
{
    if (p->byte_first < c->byte_first) c->byte_first = p->byte_first;
    if (p->byte_end > c->byte_end) c->byte_end = p->byte_end;
    if (p->line_first < c->line_first) c->line_first = p->line_first;
    if (p->line_last > c->line_last) c->line_last = p->line_last;
    if (p->page_first < c->page_first) c->page_first = p->page_first;
    if (p->page_last > c->page_last) c->page_last = p->page_last;
    if (h->chunk_id < c->chunk_first) c->chunk_first = h->chunk_id;
    if (h->chunk_id > c->chunk_last) c->chunk_last = h->chunk_id;
}

static enum tacit_err cite(struct asking *k, const struct answer_draft *d,
                           struct answer *out)
{
    const struct passage *p = &k->found->passages[d->passage];
    const struct chunk_sentence *at = &p->sentences[d->sentence];
    struct answer_citation *c = NULL;
    for (size_t i = 0; i < out->n_citations && !c; i++)
        if (is_beside(&out->citations[i], p->hit)) c = &out->citations[i];
    if (c)
        widen(c, p->hit, &at->place);
    else
        TRY(new_citation(k, p->hit, at, out, &c));
    out->passages[d->passage].citation = c->number;
    out->sentences[out->n_sentences++] =
        (struct answer_sentence){d->text, c->number, d->score};
    return TACIT_OK;
}

enum tacit_err answerer_find(struct corpus *c, const struct search_query *q,
                             struct arena *a, struct answer *out,
                             struct answer_found **found)
{
    struct search_query wide = *q;
    struct search_hit *hits = NULL;
    struct answer_found *f = NULL;
    int64_t from = tick_ns();
    *out = (struct answer){.threshold = RELEVANCE_THRESHOLD, .span = ""};
    if (q->threshold) out->threshold = *q->threshold;
    TRY(arena_alloc(a, 1, sizeof *f, &f));
    wide.limit = RERANK_MAX;
    /* Passages are read one by one; their citations are joined. */
    wide.neighbours = SEARCH_APART;
    wide.report = &out->report;
    TRY(search_hybrid(c, &wide, a, &hits, &f->n));
    out->search_ns = lap(&from);
    TRY(relevance_inquire(c, q, a, &f->inquiry));
    TRY(rerank(c, &f->inquiry, hits, f->n, f->passages));
    if (q->reread) reread_order(f->passages, f->n, out->threshold);
    TRY(passage_reader_run(c, q, &f->inquiry, f->passages, f->n));
    out->reader = passage_reader_name(q);
    out->rerank_ns = lap(&from);
    for (size_t i = 0; i < f->n; i++) {
        const struct passage *p = &f->passages[i];
        out->passages[i] =
            (struct answer_passage){p->hit, p->relevance, p->log_odds,
                                    p->confidence, 0};
    }
    out->n_passages = f->n;
    out->confidence = f->n ? f->passages[0].confidence : 0;
    /* Of a refusal it is that of the most confident one, whoever is first. */
    for (size_t i = 0; i < f->n && out->confidence < out->threshold; i++)
        if (f->passages[i].confidence > out->confidence)
            out->confidence = f->passages[i].confidence;
    *found = f;
    return TACIT_OK;
}

static enum tacit_err ask(struct asking *k, struct answer *out)
{
    struct answer_drafts drafts = {.span = ""};
    const struct passage *passages = k->found->passages;
    struct answer_basis basis = {.c = k->c,
                                 .q = k->q,
                                 .inquiry = &k->found->inquiry,
                                 .passages = passages};
    if (k->found->n == 0) return TACIT_OK;
    int64_t from = tick_ns();
    double needed = passages[0].log_odds + log(KEEP_ODDS);
    while (basis.n < k->found->n &&
           passages[basis.n].confidence >= out->threshold &&
           passages[basis.n].log_odds >= needed)
        basis.n++;
    if (basis.n) TRY(writer->write(&basis, k->a, &drafts));
    for (size_t i = 0; i < drafts.n; i++) TRY(cite(k, &drafts.list[i], out));
    out->n_more = drafts.n_more;
    out->span = drafts.span;
    if (*drafts.span)
        out->span_citation = out->sentences[drafts.span_sentence].citation;
    out->write_ns = lap(&from);
    return TACIT_OK;
}

enum tacit_err answerer_refuse(const struct answer *a)
{
    /* Cut, for 0.268 is less than 0.27, which it would be rounded to. */
    return fail_as(E_NOTHING_RELEVANT,
                   "nothing in the documents answers this (confidence %.2f, "
                   "needed %.2f)",
                   floor(100 * a->confidence) / 100, a->threshold);
}

enum tacit_err answerer_ask(struct corpus *c, const struct search_query *q,
                            struct arena *a, struct answer *out)
{
    struct asking k = {.c = c, .a = a, .q = q};
    TRY(answerer_find(c, q, a, out, &k.found));
    TRY(ask(&k, out));
    return out->n_sentences > 0 ? TACIT_OK : answerer_refuse(out);
}
