#include "retrieval/generate.h"

#include <string.h>

#include "common/base/codes.h"
#include "common/base/utf8.h"
#include "retrieval/cite.h"
#include "retrieval/language.h"

enum { SNIPPET_BYTES = 400, REPEATS_MAX = 1 };

struct writing {
    const struct generate_job *job;
    struct arena *a;
    struct generated *out;
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

static enum tacit_err write(struct writing *w, const struct prompt *p,
                            size_t n_max)
{
    const struct generate_job *job = w->job;
    struct decoder_job d = {.prompt = p->token,
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
    for (size_t i = 0; i < p->n_cuts; i++) d.cut[i] = p->cut[i];
    enum tacit_err err = decoder_generate(job->decoder, &d, &w->out->report);
    if (err) return err;
    return finish_claims(w, CLAIM_AT_END);
}

static enum tacit_err generate(struct writing *w)
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
    TRY(prompt_build(&source, w->a, &p));
    g->n_passages = p.n_passages;
    g->n_turns = p.n_turns;
    g->is_cut = p.is_cut;
    g->prompt_tokens = p.n;
    for (size_t i = 0; i < g->n_passages; i++) {
        w->hits[i] = found->passages[i].hit;
        TRY(note_source(w->a, w->hits[i], (int)i + 1, &g->sources[i]));
    }
    w->language = language_guess(job->question, strlen(job->question));
    w->ends_at_gap = source.chat == CHAT_NONE;
    return write(w, &p, n_max);
}

enum tacit_err generate_answer(const struct generate_job *job, struct arena *a,
                               struct generated *out)
{
    struct writing w = {.job = job, .a = a, .out = out};
    char *text = NULL;
    *out = (struct generated){.text = ""};
    buf_init(&w.pending, 0);
    buf_init(&w.text, 0);
    buf_init(&w.visible, 0);
    enum tacit_err err = generate(&w);
    if (!err) err = buf_end(&w.visible);
    if (!err && w.visible.len)
        err =
            arena_strdup(a, (const char *)w.visible.data, w.visible.len, &text);
    if (text) out->text = text;
    buf_release(&w.pending);
    buf_release(&w.text);
    buf_release(&w.visible);
    if (err || out->n_supported) return err;
    if (out->n_claims == 0)
        return fail_as(E_UNSUPPORTED_ANSWER,
                       "the model wrote no sentence that says anything");
    return fail_as(E_UNSUPPORTED_ANSWER,
                   "of %zu sentence%s that the model wrote none is supported "
                   "by the documents",
                   out->n_claims, out->n_claims == 1 ? "" : "s");
}
