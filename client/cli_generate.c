#include "client/cli_generate.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/shown.h"
#include "common/base/codes.h"
#include "common/base/plural.h"
#include "common/model/draft.h"

/* ---- options ------------------------------------------------------------ */

enum tacit_err cli_writer(const struct options *o, struct device *d,
                          enum writer_kind *out)
{
    struct generator_choice c;
    int generate = options_flag(o, "generate");
    int extract = options_flag(o, "extract");
    if (generate && extract)
        return fail_as(E_USAGE, "--generate and --extract exclude each other");
    TRY(generator_chosen(d, &c));
    *out = !extract && (generate || strcmp(c.name, GENERATOR_NONE) != 0)
               ? WRITER_GENERATES
               : WRITER_EXTRACTS;
    return TACIT_OK;
}

static enum tacit_err read_sampling(const struct options *o, struct sampling *s)
{
    int64_t top_k = 0, seed = 0;
    s->top_p = 1;
    TRY(options_real(o, "temperature", 0, 10, &s->temperature));
    TRY(options_real(o, "top-p", 0, 1, &s->top_p));
    TRY(options_real(o, "min-p", 0, 1, &s->min_p));
    TRY(options_real(o, "repeat-penalty", 0.1, 10, &s->repetition));
    TRY(options_int(o, "top-k", 0, 1 << 20, 0, &top_k));
    TRY(options_int(o, "seed", 0, INT64_MAX, 0, &seed));
    s->top_k = (uint32_t)top_k;
    s->seed = (uint64_t)seed;
    return TACIT_OK;
}

static enum tacit_err read_unsupported(const struct options *o,
                                       enum generate_unsupported *out)
{
    const char *value = options_value(o, "unsupported");
    *out = GENERATE_MARK;
    if (!value || strcmp(value, "mark") == 0) return TACIT_OK;
    if (strcmp(value, "drop") != 0)
        return fail_as(E_USAGE, "--unsupported is mark or drop");
    *out = GENERATE_DROP;
    return TACIT_OK;
}

static enum tacit_err read_cache(const struct options *o, int *out)
{
    const char *value = options_value(o, "kv-cache");
    *out = value && strcmp(value, "q8_0") == 0;
    if (!value || *out || strcmp(value, "f16") == 0) return TACIT_OK;
    return fail_as(E_USAGE, "--kv-cache is f16 or q8_0");
}

enum tacit_err writer_open(const struct options *o, struct device *d,
                           size_t sequences, struct writer *w)
{
    int64_t n_max, guesses, context, memory;
    int packs_cache;
    *w = (struct writer){.o = o};
    TRY(read_sampling(o, &w->sampling));
    TRY(read_unsupported(o, &w->unsupported));
    TRY(options_int(o, "max-tokens", 1, DECODER_ANSWER_MAX, GENERATE_TOKENS,
                    &n_max));
    TRY(options_int(o, "guesses", 0, DRAFT_MAX, DRAFT_MAX, &guesses));
    TRY(options_int(o, "context", 64, DECODER_CONTEXT_MAX, 0, &context));
    TRY(options_int(o, "memory", 1, 1 << 24, 0, &memory));
    TRY(read_cache(o, &packs_cache));
    w->n_max = (size_t)n_max;
    w->guesses = (unsigned)guesses;
    const struct generator_how how = {.context = (size_t)context,
                                      .memory = (uint64_t)memory << 20,
                                      .sequences = sequences,
                                      .packs_cache = packs_cache,
                                      .keeps_no_prompts =
                                          d->db.is_readonly ||
                                          options_flag(o, "no-prompt-cache")};
    return generator_open(d, &how, &w->generator);
}

void writer_close(struct writer *w)
{
    generator_close(&w->generator);
}

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

void writer_hint(const struct writer *w)
{
    const struct decoder_need *n = decoder_need(w->generator.decoder);
    cli_hint(w->o,
             "%s takes up to %.0f MiB for %zu answer%s at once (weights %.0f, "
             "keys and values %.0f, work %.0f).",
             w->generator.choice.name, mib(n->all), n->sequences,
             plural_s(n->sequences), mib(n->weights), mib(n->cache),
             mib(n->work));
}

/* ---- as it comes -------------------------------------------------------- */

static void show(void *ctx, const char *text, size_t n)
{
    struct writer_page *p = ctx;
    if (cli_json(p->o)) return;
    p->is_shown = 1;
    if (p->later) {
        buf_put(p->later, text, n);
        return;
    }
    fwrite(text, 1, n, stdout);
    fflush(stdout);
}

/* Citations that were found, and whether there are any. */
static void judge(void *ctx, const struct claim *c)
{
    char mark[16];
    for (unsigned i = 0; c->is_found && i < PROMPT_PASSAGES_MAX; i++)
        if (c->cited >> i & 1)
            show(ctx, mark,
                 (size_t)snprintf(mark, sizeof mark, " [%u]", i + 1));
    if (!c->is_supported) {
        const char *text = progress_colour(STDOUT_FILENO)
                               ? " \033[33m[unsupported]\033[0m"
                               : " [unsupported]";
        show(ctx, text, strlen(text));
    }
}

static enum tacit_err go_on(void *ctx)
{
    (void)ctx;
    if (cli_interrupted()) return fail_as(E_INTERRUPTED, "interrupted");
    return TACIT_OK;
}

/* ---- afterwards --------------------------------------------------------- */

static const char *end_name(enum decoder_end e)
{
    switch (e) {
    case DECODER_MARK: return "mark";
    case DECODER_LENGTH: return "length";
    case DECODER_CONTENT: break;
    }
    return "content";
}

static double per_second(size_t n, int64_t ns)
{
    return ns > 0 ? (double)n * 1e9 / (double)ns : 0;
}

static json_t *claim_json(const struct claim *c)
{
    json_t *list = json_array();
    for (int i = 0; i < PROMPT_PASSAGES_MAX; i++)
        if (c->cited >> i & 1) json_array_append_new(list, json_integer(i + 1));
    return json_pack("{s:s, s:o, s:b, s:b, s:f}", "text", c->text, "citations",
                     list, "citations_found", c->is_found, "supported",
                     c->is_supported, "support", c->support);
}

static json_t *generation_json(const struct writer *w,
                               const struct generated *g)
{
    const struct decoder_report *r = &g->report;
    char hash[DIGEST_HEX];
    hex_encode(hash, w->generator.choice.hash.b, DIGEST_BYTES);
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:s, s:I, s:I}",
                  "model", w->generator.choice.name, "model_hash", hash, "seed",
                  (json_int_t)w->sampling.seed, "temperature",
                  w->sampling.temperature, "prompt_tokens",
                  (json_int_t)r->n_prompt, "prompt_tokens_kept",
                  (json_int_t)r->n_kept, "prompt_tokens_from_disk",
                  (json_int_t)r->n_read, "tokens", (json_int_t)r->n_tokens,
                  "ended_by", end_name(r->end), "guessed",
                  (json_int_t)r->n_guessed, "guessed_right",
                  (json_int_t)r->n_right);
    json_t *more =
        json_pack("{s:I, s:I, s:I, s:b, s:I, s:I}", "context",
                  (json_int_t)g->context, "passages_read",
                  (json_int_t)g->n_passages, "passages_left_out",
                  (json_int_t)(g->n_offered - g->n_passages), "passage_cut",
                  g->is_cut, "turns_read", (json_int_t)g->n_turns,
                  "turns_left_out", (json_int_t)(g->n_said - g->n_turns));
    if (o && more) json_object_update(o, more);
    json_decref(more);
    if (w->generator.plan[0])
        json_object_set_new(o, "adapter",
                            json_pack("{s:s, s:I}", "plan", w->generator.plan,
                                      "version",
                                      (json_int_t)w->generator.version));
    else
        json_object_set_new(o, "adapter", json_null());
    return o;
}

static json_t *times_json(const struct generated *g)
{
    const struct decoder_report *r = &g->report;
    json_t *o = shown_timings_json(&g->found.report);
    size_t n = r->n_prompt - r->n_kept - r->n_read;
    json_object_set_new(o, "search_ms",
                        json_real(shown_ms(g->found.search_ns)));
    json_object_set_new(o, "rerank_ms",
                        json_real(shown_ms(g->found.rerank_ns)));
    json_object_set_new(o, "prefill_ms", json_real(shown_ms(r->prefill_ns)));
    json_object_set_new(o, "prefill_tokens_per_s",
                        json_real(per_second(n, r->prefill_ns)));
    json_object_set_new(o, "decode_ms", json_real(shown_ms(r->decode_ns)));
    json_object_set_new(o, "decode_tokens_per_s",
                        json_real(per_second(r->n_tokens, r->decode_ns)));
    return o;
}

static json_t *generated_json(const struct writer *w, const struct generated *g,
                              const char *question, int64_t id)
{
    json_t *sentences = json_array(), *citations = json_array();
    json_t *passages = json_array();
    for (size_t i = 0; i < g->n_claims; i++)
        json_array_append_new(sentences, claim_json(&g->claims[i]));
    for (size_t i = 0; i < g->n_passages; i++) {
        json_t *c = shown_citation_json(&g->sources[i]);
        json_object_set_new(c, "cited", json_boolean(g->cited >> i & 1));
        json_array_append_new(citations, c);
    }
    for (size_t i = 0; i < g->found.n_passages; i++)
        json_array_append_new(passages,
                              shown_passage_json(&g->found.passages[i]));
    return json_pack(
        "{s:I, s:s, s:s, s:s, s:o, s:o, s:f, s:f, s:o, s:o, s:o, s:o}",
        "answer", (json_int_t)id, "question", question, "writer", "generate",
        "text", g->text, "sentences", sentences, "citations", citations,
        "confidence", g->found.confidence, "threshold", g->found.threshold,
        "passages", passages, "search", shown_report_json(&g->found.report),
        "generation", generation_json(w, g), "timings", times_json(g));
}

/* What the answer does not show by itself. */
static void say_limits(const struct options *o, const struct generated *g)
{
    size_t n_dropped = 0, n_left = g->n_offered - g->n_passages;
    for (size_t i = 0; i < g->n_claims; i++)
        n_dropped += !g->claims[i].is_supported;
    if (n_left)
        cli_hint(o,
                 "%zu of the %zu passage%s found did not fit: the "
                 "prompt and the answer have %zu tokens together.",
                 n_left, g->n_offered,
                 g->n_offered == 1 ? " that was" : "s that were", g->context);
    if (g->n_turns < g->n_said)
        cli_hint(
            o,
            "Of the conversation's %zu earlier question%s and answer%s the "
            "last %zu could be read; the rest did not fit.",
            g->n_said, plural_s(g->n_said), plural_s(g->n_said), g->n_turns);
    if (g->is_cut)
        cli_hint(o, "The passage did not fit either: its end was left out.");
    if (n_dropped &&
        strcmp(options_value(o, "unsupported") ? options_value(o, "unsupported")
                                               : "mark",
               "drop") == 0)
        cli_hint(o,
                 "%zu sentence%s that the passages do not support %s left "
                 "out.",
                 n_dropped, plural_s(n_dropped),
                 n_dropped == 1 ? "was" : "were");
    if (g->report.end == DECODER_LENGTH)
        cli_hint(o,
                 "The answer ends after %zu token%s; --max-tokens allows "
                 "more.",
                 g->report.n_tokens, plural_s(g->report.n_tokens));
}

static void print_end(const struct writer *w, const struct generated *g,
                      int64_t id)
{
    const struct options *o = w->o;
    const struct decoder_report *r = &g->report;
    printf("\n\n");
    for (size_t i = 0; i < g->n_passages; i++)
        if (g->cited >> i & 1) shown_source(&g->sources[i]);
    if (options_flag(o, "explain")) {
        shown_passages(&g->found);
        printf("%s: %zu tokens of prompt in %.0f ms (%zu kept, %zu from disk), "
               "%zu of answer, %.1f per second, %zu of %zu guess%s right\n",
               w->generator.choice.name, r->n_prompt, shown_ms(r->prefill_ns),
               r->n_kept, r->n_read, r->n_tokens,
               per_second(r->n_tokens, r->decode_ns), r->n_right, r->n_guessed,
               r->n_guessed == 1 ? "" : "es");
    }
    shown_cut(o, &g->found.report);
    say_limits(o, g);
    if (id)
        cli_hint(o,
                 "Written by %s; compare it with its sources. `tacit feedback "
                 "%" PRId64 " good` or `bad`; `tacit open 1` opens a source.",
                 w->generator.choice.name, id);
    else
        cli_hint(o, "Written by %s; compare it with its sources.",
                 w->generator.choice.name);
}

struct generate_job writer_job(const struct writer *w, struct corpus *c,
                               const struct search_query *q,
                               const char *question, struct writer_page *page)
{
    const struct generator *g = &w->generator;
    return (struct generate_job){.c = c,
                                 .decoder = g->decoder,
                                 .guard = g->guard,
                                 .q = q,
                                 .question = question,
                                 .sampling = w->sampling,
                                 .n_max = w->n_max,
                                 .guesses = w->guesses,
                                 .unsupported = w->unsupported,
                                 .ctx = page,
                                 .show = show,
                                 .judge = judge,
                                 .go_on = go_on};
}

enum tacit_err writer_print(const struct writer *w, struct reading *r,
                            const char *question, const struct generated *g)
{
    int64_t id = 0;
    TRY(reading_remember(r, question, g->sources, g->n_passages, &id));
    if (cli_json(w->o))
        return json_print_ok(stdout, generated_json(w, g, question, id));
    print_end(w, g, id);
    return TACIT_OK;
}

enum tacit_err writer_answer(struct writer *w, struct reading *r,
                             const char *question,
                             const struct prompt_turn *turns, size_t n_turns,
                             struct generated *out)
{
    struct writer_page page = {.o = w->o};
    struct generate_job job =
        writer_job(w, r->corpus, &r->query, question, &page);
    job.turns = turns;
    job.n_turns = n_turns;
    if (w->generator.prompts.bytes_max) job.cache = &w->generator.prompts;
    enum tacit_err err = generate_answer(&job, &r->arena, out);
    if (err && page.is_shown) putchar('\n');
    if (err && !cli_json(w->o) && options_flag(w->o, "explain"))
        shown_passages(&out->found);
    return err ? err : writer_print(w, r, question, out);
}
