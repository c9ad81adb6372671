#include "retrieval/generate.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/plural.h"
#include "common/base/utf8.h"
#include "retrieval/cite.h"
#include "retrieval/language.h"

enum { SNIPPET_BYTES = 400, REPEATS_MAX = 1 };

struct writing {
    const struct generate_queue *queue;
    struct generate_order order;
    const struct generate_job *job; /* of the order, as are a and out */
    struct arena *a;
    struct generated *out;
    struct decoder_job decoding;
    const struct search_hit *hits[PROMPT_PASSAGES_MAX];
    enum language language;
    struct cite_state cite;
    struct buf pending;   /* bytes that are no whole character yet */
    struct buf text;      /* all that was written */
    size_t done, shown;   /* bytes of it: whole sentences, what was shown */
    struct buf visible;   /* what was shown */
    int ends_at_gap;      /* a model without turns: a blank line is the end */
    int is_over, has_end; /* nothing more is said; the text ended there */
    int n_same;           /* sentences that were there before */
};

/* ---- showing ------------------------------------------------------------ */

static int is_blank(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\t';
}

/* text [from, to), without the blanks before the first word. */
static void show(struct writing *w, size_t from, size_t to)
{
    const uint8_t *s = w->text.data;
    while (!w->visible.len && from < to && is_blank(s[from])) from++;
    if (from >= to) return;
    buf_put(&w->visible, s + from, to - from);
    if (w->job->show)
        w->job->show(w->job->ctx, (const char *)s + from, to - from);
}

/* Up to here, but for blanks: the judgement of a sentence comes before them. */
static void show_to(struct writing *w, size_t to)
{
    while (to > w->shown && is_blank(w->text.data[to - 1])) to--;
    if (to <= w->shown) return;
    show(w, w->shown, to);
    w->shown = to;
}

/* ---- sentences ---------------------------------------------------------- */

static int is_said(const struct generated *g, const struct claim *c)
{
    for (size_t i = 0; i < g->n_claims; i++)
        if (strcmp(g->claims[i].text, c->text) == 0) return 1;
    return 0;
}

/* The next n bytes are a sentence. */
static enum tacit_err finish_claim(struct writing *w, size_t n)
{
    struct generated *g = w->out;
    struct claim c;
    size_t from = w->done, end = w->done + n;
    int drops = w->job->unsupported == GENERATE_DROP;
    w->done = end;
    TRY(claim_check(w->job->c, w->a, (const char *)w->text.data + from, n,
                    w->hits, g->n_passages, &c));
    if (is_said(g, &c)) { /* small networks go round in circles */
        w->n_same++;
        w->is_over = w->n_same > REPEATS_MAX;
        if (drops) return TACIT_OK;
    }
    if (!drops || !c.is_claim || c.is_supported) {
        show_to(w, end);
        if (c.is_claim) g->cited |= c.cited;
        if (c.is_claim && w->job->judge) w->job->judge(w->job->ctx, &c);
    } else {
        w->shown = end;
    }
    if (!c.is_claim) return TACIT_OK;
    g->claims[g->n_claims++] = c;
    g->n_supported += c.is_supported != 0;
    if (g->n_claims == GENERATE_CLAIMS_MAX) w->is_over = 1;
    return TACIT_OK;
}

static enum tacit_err finish_claims(struct writing *w, enum claim_more more)
{
    while (w->done < w->text.len && !w->is_over) {
        size_t n =
            claim_length(w->language, (const char *)w->text.data + w->done,
                         w->text.len - w->done, more);
        if (!n) break;
        TRY(finish_claim(w, n));
    }
    return TACIT_OK;
}

/* ---- tokens ------------------------------------------------------------- */

/* Whole characters go to the text; what can't be shown does not. */
static void take_bytes(struct writing *w)
{
    const char *s = (const char *)w->pending.data;
    size_t n = w->pending.len, i = 0;
    while (i < n) {
        uint32_t c = 0;
        size_t len = utf8_next(s + i, n - i, &c);
        if (!len && n - i < 4 && ((unsigned char)s[i] & 0xc0) == 0xc0) break;
        if (!len) {
            buf_put(&w->text, "\xef\xbf\xbd", 3);
            i++;
            continue;
        }
        int is_mark =
            (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
        if ((c >= ' ' && (c < 0x7f || c > 0x9f) && !is_mark) || c == '\n')
            buf_put(&w->text, s + i, len);
        else
            buf_put_u8(&w->text, ' ');
        i += len;
    }
    if (i) memmove(w->pending.data, w->pending.data + i, n - i);
    w->pending.len = n - i;
}

/* A model that knows no turns goes on with another question. */
static void find_gap(struct writing *w)
{
    size_t from = 0;
    while (from < w->text.len && is_blank(w->text.data[from])) from++;
    for (size_t i = from; i + 1 < w->text.len; i++) {
        if (w->text.data[i] != '\n' || w->text.data[i + 1] != '\n') continue;
        w->text.len = i;
        w->has_end = 1;
        return;
    }
}

static enum tacit_err take(void *ctx, uint32_t token, int *enough)
{
    struct writing *w = ctx;
    size_t before = w->pending.len;
    vocab_piece(decoder_vocab(w->job->decoder), (int32_t)token, &w->pending);
    TRY(buf_end(&w->pending));
    cite_follow(&w->cite, (unsigned)w->out->n_passages,
                (const char *)w->pending.data + before,
                w->pending.len - before);
    take_bytes(w);
    if (w->ends_at_gap) find_gap(w);
    TRY(buf_end(&w->text));
    TRY(finish_claims(w, CLAIM_GOES_ON));
    if (w->job->unsupported == GENERATE_MARK && !w->is_over)
        show_to(w, w->text.len);
    *enough = w->is_over || w->has_end;
    return TACIT_OK;
}

static void forbid(void *ctx, float *logits)
{
    const struct writing *w = ctx;
    cite_forbid(w->job->guard, &w->cite, (unsigned)w->out->n_passages, logits);
}

static enum tacit_err go_on(void *ctx)
{
    const struct writing *w = ctx;
    return w->job->go_on ? w->job->go_on(w->job->ctx) : TACIT_OK;
}

/* ---- the whole ---------------------------------------------------------- */

static enum tacit_err note_source(struct arena *a, const struct search_hit *h,
                                  int number, struct answer_citation *out)
{
    size_t n = h->text_len < SNIPPET_BYTES ? h->text_len : SNIPPET_BYTES;
    char *snippet = NULL;
    while (n < h->text_len && n > 0 &&
           ((unsigned char)h->text[n] & 0xc0) == 0x80)
        n--;
    TRY(arena_strdup(a, h->text, n, &snippet));
    *out = (struct answer_citation){.number = number,
                                    .path = h->path,
                                    .title = h->title,
                                    .heading = h->heading,
                                    .page_first = h->page_first,
                                    .page_last = h->page_last,
                                    .line_first = h->line_first,
                                    .line_last = h->line_last,
                                    .byte_first = h->byte_first,
                                    .byte_end = h->byte_end,
                                    .snippet = snippet,
                                    .chunk_first = h->chunk_id,
                                    .chunk_last = h->chunk_id};
    return TACIT_OK;
}

static enum tacit_err find_passages(struct writing *w,
                                    struct answer_found **found)
{
    struct generated *g = w->out;
    TRY(answerer_find(w->job->c, w->job->q, w->a, &g->found, found));
    while (g->n_offered < (*found)->n && g->n_offered < PROMPT_PASSAGES_MAX &&
           (*found)->passages[g->n_offered].confidence >= g->found.threshold)
        g->n_offered++;
    return g->n_offered ? TACIT_OK : answerer_refuse(&g->found);
}

static void plan_decoding(struct writing *w, const struct prompt *p,
                          size_t n_max)
{
    const struct generate_job *job = w->job;
    w->decoding = (struct decoder_job){.prompt = p->token,
                                       .n_prompt = p->n,
                                       .n_cuts = p->n_cuts,
                                       .n_max = n_max,
                                       .sampling = job->sampling,
                                       .guesses = job->guesses,
                                       .cache = job->cache,
                                       .ctx = w,
                                       .forbid = forbid,
                                       .take = take,
                                       .go_on = go_on};
    memcpy(w->decoding.cut, p->cut, p->n_cuts * sizeof *p->cut);
}

/* What is found, and the prompt that is made of it. */
static enum tacit_err prepare(struct writing *w)
{
    const struct generate_job *job = w->job;
    struct generated *g = w->out;
    struct answer_found *found = NULL;
    struct prompt p;
    TRY(find_passages(w, &found));
    g->context = decoder_context(job->decoder);
    size_t n_max = job->n_max < g->context / 2 ? job->n_max : g->context / 2;
    const struct prompt_source source = {.vocab = decoder_vocab(job->decoder),
                                         .chat = decoder_chat(job->decoder),
                                         .question = job->question,
                                         .turns = job->turns,
                                         .n_turns = job->n_turns,
                                         .passages = found->passages,
                                         .n_passages = g->n_offered,
                                         .room = g->context - n_max};
    enum tacit_err err = prompt_build(&source, w->a, &p);
    if (err)
        return err_context(err, "the model reads %zu tokens at a time",
                           g->context);
    g->n_passages = p.n_passages;
    g->n_turns = p.n_turns;
    g->n_said = job->n_turns;
    g->is_cut = p.is_cut;
    g->prompt_tokens = p.n;
    for (size_t i = 0; i < g->n_passages; i++) {
        w->hits[i] = found->passages[i].hit;
        TRY(note_source(w->a, w->hits[i], (int)i + 1, &g->sources[i]));
    }
    w->language = language_guess(job->question, strlen(job->question));
    w->ends_at_gap = source.chat == CHAT_NONE;
    plan_decoding(w, &p, n_max);
    return TACIT_OK;
}

static enum tacit_err conclude(struct writing *w)
{
    struct generated *g = w->out;
    char *text = NULL;
    TRY(finish_claims(w, CLAIM_AT_END));
    TRY(buf_end(&w->visible));
    if (w->visible.len)
        TRY(arena_strdup(w->a, (const char *)w->visible.data, w->visible.len,
                         &text));
    if (text) g->text = text;
    if (g->n_supported) return TACIT_OK;
    if (g->n_claims == 0)
        return fail_as(E_UNSUPPORTED_ANSWER,
                       "the model wrote no sentence that says anything");
    return fail_as(E_UNSUPPORTED_ANSWER,
                   "of %zu sentence%s that the model wrote none is supported "
                   "by the documents",
                   g->n_claims, plural_s(g->n_claims));
}

/* ---- many ---------------------------------------------------------------- */

static struct writing *begin_writing(const struct generate_queue *q,
                                     const struct generate_order *order)
{
    struct writing *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->queue = q;
    w->order = *order;
    w->job = order->job;
    w->a = order->a;
    w->out = order->out;
    *w->out = (struct generated){.text = ""};
    buf_init(&w->pending, 0);
    buf_init(&w->text, 0);
    buf_init(&w->visible, 0);
    return w;
}

static enum tacit_err end_writing(struct writing *w, enum tacit_err err)
{
    const struct generate_queue *q = w->queue;
    const struct generate_order order = w->order;
    buf_release(&w->pending);
    buf_release(&w->text);
    buf_release(&w->visible);
    free(w);
    TRY(q->end(q->ctx, &order, err));
    if (err) err_clear();
    return TACIT_OK;
}

static enum tacit_err next_writing(void *ctx, const struct decoder_job **job)
{
    const struct generate_queue *q = ctx;
    for (;;) {
        struct generate_order order = {0};
        TRY(q->next(q->ctx, &order));
        if (!order.job) return TACIT_OK;
        struct writing *w = begin_writing(q, &order);
        if (!w) {
            enum tacit_err err = fail(TACIT_NOMEM, "no memory for an answer");
            TRY(q->end(q->ctx, &order, err));
            err_clear();
            continue;
        }
        enum tacit_err err = prepare(w);
        if (!err) {
            *job = &w->decoding;
            return TACIT_OK;
        }
        TRY(end_writing(w, err));
    }
}

static enum tacit_err written(void *ctx, const struct decoder_job *job,
                              const struct decoder_report *report,
                              enum tacit_err err)
{
    struct writing *w = job->ctx;
    (void)ctx;
    w->out->report = *report;
    return end_writing(w, err ? err : conclude(w));
}

enum tacit_err generate_all(const struct generate_queue *q)
{
    struct generate_queue queue = *q;
    return decoder_generate_all(q->decoder,
                                &(struct decoder_queue){&queue, next_writing,
                                                        written});
}

/* ---- one alone ----------------------------------------------------------- */

static enum tacit_err give(void *ctx, struct generate_order *out)
{
    struct generate_order *one = ctx;
    *out = *one;
    one->job = NULL;
    return TACIT_OK;
}

static enum tacit_err pass_on(void *ctx, const struct generate_order *order,
                              enum tacit_err err)
{
    (void)ctx;
    (void)order;
    return err;
}

enum tacit_err generate_answer(const struct generate_job *job, struct arena *a,
                               struct generated *out)
{
    struct generate_order one = {job, a, out};
    *out = (struct generated){.text = ""};
    return generate_all(
        &(struct generate_queue){job->decoder, &one, give, pass_on});
}
