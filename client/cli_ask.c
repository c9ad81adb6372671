/* Commands that read the documents: search, ask, feedback. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/cli_generate.h"
#include "client/feedback.h"
#include "client/reading.h"
#include "client/shown.h"
#include "common/base/codes.h"
#include "common/base/plural.h"
#include "common/base/terminal.h"
#include "common/base/tick.h"

/* ---- search ------------------------------------------------------------- */

static enum tacit_err print_hits(const struct options *o,
                                 const struct search_report *r,
                                 const struct search_hit *hits, size_t n)
{
    int explain = options_flag(o, "explain");
    if (cli_json(o)) {
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(list, shown_hit_json(&hits[i]));
        return json_print_ok(stdout,
                             json_pack("{s:o, s:o, s:o}", "hits", list,
                                       "search", shown_report_json(r),
                                       "timings", shown_timings_json(r)));
    }
    if (explain) shown_search(r);
    for (size_t i = 0; i < n; i++) {
        const struct search_hit *h = &hits[i];
        printf("%2zu. %s%s%s\n    ", i + 1, h->title, *h->heading ? " > " : "",
               h->heading);
        shown_place(h->path, (struct shown_range){h->page_first, h->page_last},
                    (struct shown_range){h->line_first, h->line_last});
        if (explain) shown_hit(h, r->is_by_scores);
        if (h->n_also) {
            printf("    also in %zu other document%s: ", h->n_also,
                   h->n_also > 1 ? "s" : "");
            shown_path(h->also[0]);
            puts(h->n_also > 1 ? " …" : "");
        }
        shown_snippet(h, &r->question);
    }
    shown_cut(o, r);
    return TACIT_OK;
}

/* The hits in order of how sure each makes us. */
static enum tacit_err rerank_hits(struct reading *r, struct search_hit *hits,
                                  size_t n)
{
    struct inquiry *inquiry = NULL;
    struct passage *passages = NULL;
    struct search_hit *sorted = NULL;
    TRY(arena_alloc(&r->arena, 1, sizeof *inquiry, &inquiry));
    TRY(arena_alloc(&r->arena, n + 1, sizeof *passages, &passages));
    TRY(arena_alloc(&r->arena, n + 1, sizeof *sorted, &sorted));
    TRY(relevance_inquire(r->corpus, &r->query, &r->arena, inquiry));
    TRY(rerank(r->corpus, inquiry, hits, n, passages));
    for (size_t i = 0; i < n; i++) sorted[i] = *passages[i].hit;
    for (size_t i = 0; i < n; i++) hits[i] = sorted[i];
    return TACIT_OK;
}

enum tacit_err cli_search(const struct options *o)
{
    struct reading r;
    struct search_hit *hits = NULL;
    size_t n = 0;
    TRY(reading_begin(o, &r));
    enum tacit_err err = search_hybrid(r.corpus, &r.query, &r.arena, &hits, &n);
    if (!err && n == 0)
        err = fail_as(E_NOTHING_RELEVANT, "no passage matches%s",
                      r.filter.n ? " and meets the conditions" : "");
    if (!err && options_flag(o, "by-confidence"))
        err = rerank_hits(&r, hits, n);
    if (!err) err = print_hits(o, &r.report, hits, n);
    reading_end(&r);
    return err;
}

/* ---- ask ---------------------------------------------------------------- */

static json_t *answer_json(const struct answer *a, int64_t id)
{
    json_t *sentences = json_array(), *citations = json_array();
    json_t *passages = json_array(), *timings = shown_timings_json(&a->report);
    for (size_t i = 0; i < a->n_sentences; i++)
        json_array_append_new(sentences,
                              json_pack("{s:s, s:i}", "text",
                                        a->sentences[i].text, "citation",
                                        a->sentences[i].citation));
    for (size_t i = 0; i < a->n_citations; i++)
        json_array_append_new(citations, shown_citation_json(&a->citations[i]));
    for (size_t i = 0; i < a->n_passages; i++)
        json_array_append_new(passages, shown_passage_json(&a->passages[i]));
    json_object_set_new(timings, "search_ms",
                        json_real(shown_ms(a->search_ns)));
    json_object_set_new(timings, "rerank_ms",
                        json_real(shown_ms(a->rerank_ns)));
    json_object_set_new(timings, "write_ms", json_real(shown_ms(a->write_ns)));
    json_t *o = json_pack("{s:I, s:o, s:o, s:f, s:f, s:o, s:o, s:o, s:I}",
                          "answer", (json_int_t)id, "sentences", sentences,
                          "citations", citations, "confidence", a->confidence,
                          "threshold", a->threshold, "passages", passages,
                          "search", shown_report_json(&a->report), "timings",
                          timings, "sentences_left_out", (json_int_t)a->n_more);
    if (o) json_object_set_new(o, "reader", json_string(a->reader));
    if (o && *a->span)
        json_object_set_new(o, "span",
                            json_pack("{s:s, s:i}", "text", a->span, "citation",
                                      a->span_citation));
    return o;
}

/* A sentence with the words that answer in bold, where that can be shown. */
static void print_sentence(const struct answer *a, size_t i)
{
    const char *text = a->sentences[i].text, *at = NULL;
    int bold = *a->span && progress_colour(STDOUT_FILENO);
    if (bold && a->sentences[i].citation == a->span_citation)
        at = strstr(text, a->span);
    if (at)
        terminal_say(stdout, 0, "%.*s\033[1m%s\033[0m%s [%d]", (int)(at - text),
                     text, a->span, at + strlen(a->span),
                     a->sentences[i].citation);
    else
        terminal_say(stdout, 0, "%s [%d]", text, a->sentences[i].citation);
}

static void print_answer(const struct options *o, const struct answer *a,
                         int64_t id)
{
    for (size_t i = 0; i < a->n_sentences; i++) print_sentence(a, i);
    putchar('\n');
    for (size_t i = 0; i < a->n_citations; i++) shown_source(&a->citations[i]);
    if (options_flag(o, "explain")) shown_passages(a);
    shown_cut(o, &a->report);
    if (a->n_more)
        cli_hint(o,
                 "%zu more sentence%s would do as well; `tacit search` shows "
                 "the passages.",
                 a->n_more, plural_s(a->n_more));
    if (id)
        cli_hint(o,
                 "Was this right? `tacit feedback %" PRId64 " good` or `bad`. "
                 "`tacit open 1` opens a source.",
                 id);
}

/* From a place that has r->query.text, as `chat` asks one after another. */
enum tacit_err cli_quote(const struct options *o, struct reading *r)
{
    int64_t id = 0;
    struct answer *a = calloc(1, sizeof *a);
    if (!a) return fail(TACIT_NOMEM, "no memory for an answer");
    enum tacit_err err = answerer_ask(r->corpus, &r->query, &r->arena, a);
    if (err && err_id() == E_NOTHING_RELEVANT && !cli_json(o) &&
        options_flag(o, "explain"))
        shown_passages(a);
    if (!err)
        err = reading_remember(r, r->query.text, a->citations, a->n_citations,
                               &id);
    if (!err && cli_json(o))
        err = json_print_ok(stdout, answer_json(a, id));
    else if (!err)
        print_answer(o, a, id);
    free(a);
    return err;
}

static enum tacit_err generate(const struct options *o, struct reading *r)
{
    struct writer w;
    struct generated *g = calloc(1, sizeof *g);
    if (!g) return fail(TACIT_NOMEM, "no memory for an answer");
    enum tacit_err err = writer_open(o, &r->d, 1, &w);
    if (!err) {
        cli_catch_interrupt();
        err = writer_answer(&w, r, r->text, NULL, 0, g);
        writer_close(&w);
    }
    free(g);
    return err;
}

int cli_goes_on(enum tacit_err err)
{
    unsigned id = err_id();
    return !err || id == E_NOTHING_RELEVANT || id == E_UNSUPPORTED_ANSWER ||
           id == E_QUESTION_EMPTY || id == E_QUESTION_LIMIT ||
           id == E_PROMPT_ROOM;
}

void cli_tell(const struct options *o, enum tacit_err err)
{
    fflush(stdout);
    if (cli_json(o))
        json_print_error(stdout, err);
    else
        options_print_error(stderr, "tacit", err);
    err_clear();
}

enum tacit_err cli_ask(const struct options *o)
{
    struct reading r;
    enum writer_kind kind = WRITER_EXTRACTS;
    int many = options_value(o, "questions") != NULL;
    if (many == (o->n_args > 0))
        return fail_as(E_USAGE, "ask a question, or --questions FILE");
    TRY(reading_begin(o, &r));
    enum tacit_err err = cli_writer(o, &r.d, &kind);
    if (!err && many)
        err = cli_ask_many(o, &r, kind);
    else if (!err)
        err = kind == WRITER_GENERATES ? generate(o, &r) : cli_quote(o, &r);
    reading_end(&r);
    return err;
}

/* ---- feedback ----------------------------------------------------------- */

enum tacit_err cli_feedback(const struct options *o)
{
    struct device d;
    char *end;
    int64_t number = 1;
    long long answer = strtoll(o->args[0], &end, 10);
    int good = strcmp(o->args[1], "good") == 0;
    if (*end || answer < 1)
        return fail_as(E_USAGE, "\"%.40s\" is not an answer's number",
                       o->args[0]);
    if (!good && strcmp(o->args[1], "bad") != 0)
        return fail_as(E_USAGE, "say good or bad, not \"%.40s\"", o->args[1]);
    TRY(options_int(o, "citation", 1, ANSWER_CITATIONS_MAX, 1, &number));
    TRY(cli_open(o, &d));
    enum tacit_err err =
        feedback_give(&d.db, tick_wall_s(), answer, (int)number,
                      good ? FEEDBACK_GOOD : FEEDBACK_BAD);
    device_close(&d);
    if (err) return err;
    if (cli_json(o))
        return json_print_ok(stdout,
                             json_pack("{s:I, s:i, s:s}", "answer",
                                       (json_int_t)answer, "citation",
                                       (int)number, "verdict", o->args[1]));
    printf("noted: answer %lld, citation [%d]: %s\n", answer, (int)number,
           o->args[1]);
    return TACIT_OK;
}
