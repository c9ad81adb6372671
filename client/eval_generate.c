/*
 * `tacit eval answers --generate`: the questions are answered by the decoder
 * that was chosen here, several at once, and judged like quoted answers: what
 * was written is the answer, a sentence's citations are those that it names.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_generate.h"
#include "client/eval.h"
#include "common/base/codes.h"

enum { AT_ONCE = 4 /* where nothing else is said */ };

/* A question that is being answered. */
struct written_one {
    struct arena arena;
    struct filter filter;
    struct search_query query;
    struct generate_job job;
    struct generated g;
    size_t index;
    int is_taken;
};

struct asking {
    const struct eval_asking *a;
    struct device *device;
    struct writer writer;
    struct written_one *places; /* [n_places] */
    size_t n_places, given, n_over;
    struct progress progress;
};

/* ---- a written answer as one that is judged ----------------------------- */

/* The text without its [n]: those are no words of the answer. */
static enum tacit_err bare_text(struct arena *a, const char *text,
                                const char **out)
{
    char *copy = NULL, *to;
    TRY(arena_strdup(a, text, strlen(text), &copy));
    to = copy;
    for (const char *p = copy; *p;) {
        size_t n = *p == '[' ? 1 : 0;
        while (n && isdigit((unsigned char)p[n])) n++;
        if (n > 1 && p[n] == ']')
            p += n + 1;
        else
            *to++ = *p++;
    }
    *to = '\0';
    *out = copy;
    return TACIT_OK;
}

static enum tacit_err as_answer(struct arena *a, const struct generated *g,
                                struct answer *out)
{
    *out = g->found;
    out->n_sentences = out->n_citations = 0;
    TRY(bare_text(a, g->text, &out->span));
    for (size_t i = 0; i < g->n_passages; i++)
        if ((g->cited >> i & 1) && out->n_citations < ANSWER_CITATIONS_MAX)
            out->citations[out->n_citations++] = g->sources[i];
    for (size_t i = 0; i < g->n_claims; i++)
        for (int k = 0; k < PROMPT_PASSAGES_MAX; k++)
            if ((g->claims[i].cited >> k & 1) &&
                out->n_sentences < ANSWER_SENTENCES_MAX)
                out->sentences[out->n_sentences++] =
                    (struct answer_sentence){.text = g->claims[i].text,
                                             .citation = k + 1};
    return TACIT_OK;
}

/* ---- many at once ------------------------------------------------------- */

static enum tacit_err next(void *ctx, struct generate_order *out)
{
    struct asking *s = ctx;
    struct written_one *p = s->places;
    if (cli_interrupted()) return fail_as(E_INTERRUPTED, "interrupted");
    if (s->given == s->a->n) return TACIT_OK;
    while (p->is_taken) p++; /* as many as the decoder has */
    arena_reset(&p->arena);
    p->index = s->given++;
    p->is_taken = 1;
    p->filter = (struct filter){.n = 0};
    TRY(s->a->query(s->a->ctx, p->index, &p->filter, &p->query));
    p->job = writer_job(&s->writer, s->a->store->corpus, &p->query,
                        p->query.text, NULL);
    p->job.show = NULL;
    p->job.judge = NULL;
    *out = (struct generate_order){&p->job, &p->arena, &p->g};
    return TACIT_OK;
}

static enum tacit_err end(void *ctx, const struct generate_order *order,
                          enum tacit_err err)
{
    struct asking *s = ctx;
    struct written_one *p = s->places;
    struct answer *a = NULL;
    while (&p->job != order->job) p++;
    p->is_taken = 0;
    if (!cli_goes_on(err)) return err;
    progress_update(&s->progress, ++s->n_over, NULL);
    if (err) return s->a->judge(s->a->ctx, p->index, NULL);
    TRY(arena_alloc(&p->arena, 1, sizeof *a, &a));
    TRY(as_answer(&p->arena, &p->g, a));
    return s->a->judge(s->a->ctx, p->index, a);
}

static enum tacit_err write_all(struct asking *s)
{
    struct decoder *d = s->writer.generator.decoder;
    s->n_places = decoder_need(d)->sequences;
    s->places = calloc(s->n_places, sizeof *s->places);
    if (!s->places) return fail(TACIT_NOMEM, "no memory for answers");
    for (size_t i = 0; i < s->n_places; i++) arena_init(&s->places[i].arena, 0);
    writer_hint(&s->writer);
    cli_catch_interrupt();
    progress_begin(&s->progress, cli_progress(s->a->o), "asking", "questions",
                   s->a->n);
    enum tacit_err err =
        generate_all(&(struct generate_queue){d, s, next, end});
    progress_end(&s->progress);
    for (size_t i = 0; i < s->n_places; i++) arena_release(&s->places[i].arena);
    free(s->places);
    return err;
}

enum tacit_err eval_generate(const struct eval_asking *a,
                             char name[NETWORK_NAME_MAX])
{
    struct asking s = {.a = a, .device = &a->store->device};
    struct device own;
    int64_t at_once = AT_ONCE;
    TRY(options_int(a->o, "at-once", 1, DECODER_SEQUENCES_MAX, at_once,
                    &at_once));
    if (!a->store->has_device) {
        TRY(cli_open(a->o, &own));
        s.device = &own;
    }
    enum tacit_err err =
        writer_open(a->o, s.device, (size_t)at_once, &s.writer);
    if (!err) {
        snprintf(name, NETWORK_NAME_MAX, "%s", s.writer.generator.choice.name);
        err = write_all(&s);
        writer_close(&s.writer);
    }
    if (s.device == &own) device_close(&own);
    return err;
}
