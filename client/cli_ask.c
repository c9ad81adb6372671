/* Commands that read the documents: search, ask, feedback. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/embedding.h"
#include "client/feedback.h"
#include "client/tuning.h"
#include "common/base/codes.h"
#include "common/base/tick.h"
#include "retrieval/answerer.h"
#include "retrieval/language.h"
#include "retrieval/rerank.h"

enum { SEARCH_DEFAULT = 5, SNIPPET_BYTES = 240 };

/* What a question needs: store, encoder, documents, and the adapter of the
 * newest retriever model. */
struct reading {
    struct device d;
    struct encoder *encoder;
    struct corpus *corpus;
    float *adapter;
    struct arena arena;
    struct search_query query;
    struct filter filter;
    struct weight_learnt weight;
    double threshold; /* of an answer */
    struct search_report report;
    char *text; /* the words of the command line, joined */
};

static enum tacit_err join_words(const struct options *o, char **out)
{
    struct buf b;
    buf_init(&b, SEARCH_QUERY_MAX);
    for (int i = 0; i < o->n_args; i++)
        buf_printf(&b, "%s%s", i ? " " : "", o->args[i]);
    const char *text = buf_cstr(&b);
    enum tacit_err err = buf_end(&b);
    if (err) {
        err_clear();
        err = fail_as(E_QUESTION_LIMIT,
                      "the question is longer than %d bytes; ask in a "
                      "sentence or two",
                      SEARCH_QUERY_MAX);
    } else {
        *out = strdup(text);
        if (!*out) err = fail(TACIT_NOMEM, "no memory for the question");
    }
    buf_release(&b);
    return err;
}

static void reading_end(struct reading *r)
{
    corpus_close(r->corpus);
    encoder_free(r->encoder);
    free(r->adapter);
    free(r->text);
    arena_release(&r->arena);
    device_close(&r->d);
}

static enum tacit_err read_filter(const struct options *o, struct filter *f)
{
    static const struct {
        const char *option, *key;
        enum filter_test test;
    } simple[] = {{"in", "path", FILTER_LIKE},
                  {"type", "kind", FILTER_LIKE},
                  {"since", "date", FILTER_SINCE},
                  {"until", "date", FILTER_UNTIL}};
    const char *value;
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++)
        if ((value = options_value(o, simple[i].option)))
            TRY(filter_add(f, simple[i].key, value, simple[i].test));
    for (size_t i = 0; (value = options_value_at(o, "where", i)); i++)
        TRY(filter_add_pair(f, value));
    return TACIT_OK;
}

/* A number from 0 to 1 into *out, where the option is given. */
static enum tacit_err read_share(const struct options *o, const char *name,
                                 double *out)
{
    const char *value = options_value(o, name);
    char *end = NULL;
    if (!value) return TACIT_OK;
    double x = strtod(value, &end);
    if (*end || end == value || !(x >= 0 && x <= 1))
        return fail_as(E_USAGE, "--%s is a number from 0 to 1", name);
    *out = x;
    return TACIT_OK;
}

/* What `search` alone can be told. */
static enum tacit_err read_manner(const struct options *o,
                                  struct search_query *q)
{
    const char *mode = options_value(o, "mode");
    int64_t limit = SEARCH_DEFAULT;
    TRY(options_int(o, "limit", 1, SEARCH_LIMIT_MAX, limit, &limit));
    q->limit = (size_t)limit;
    if (options_flag(o, "rerank") && limit > RERANK_MAX)
        return fail_as(E_USAGE, "--rerank reads at most %d passages",
                       RERANK_MAX);
    TRY(read_share(o, "diversity", &q->diversity));
    q->neighbours = options_flag(o, "rerank") ? SEARCH_APART : SEARCH_JOINED;
    if (!mode || strcmp(mode, "hybrid") == 0)
        q->mode = SEARCH_HYBRID;
    else if (strcmp(mode, "words") == 0)
        q->mode = SEARCH_WORDS;
    else if (strcmp(mode, "vectors") == 0)
        q->mode = SEARCH_VECTORS;
    else
        return fail_as(E_USAGE, "--mode is words, vectors or hybrid");
    return TACIT_OK;
}

static enum tacit_err prepare(const struct options *o, struct reading *r)
{
    int has_weight = 0;
    TRY(join_words(o, &r->text));
    TRY(read_filter(o, &r->filter));
    TRY(embedding_open(&r->d, &r->encoder));
    TRY(corpus_open(&r->d.db, r->encoder, &r->corpus));
    TRY(embedding_adapter(&r->d, r->encoder, &r->adapter));
    struct tuning_model m = {r->encoder, r->adapter};
    TRY(tuning_weight(&r->d.db, &m, &r->weight, &has_weight));
    r->query = (struct search_query){.text = r->text,
                                     .adapter = r->adapter,
                                     .filter = &r->filter,
                                     .limit = SEARCH_DEFAULT,
                                     .report = &r->report};
    if (has_weight) r->query.weight = &r->weight.weight;
    if (strcmp(o->command->name, "search") == 0)
        return read_manner(o, &r->query);
    r->threshold = RELEVANCE_THRESHOLD;
    TRY(read_share(o, "threshold", &r->threshold));
    r->query.threshold = &r->threshold;
    return TACIT_OK;
}

static enum tacit_err reading_begin(const struct options *o, struct reading *r)
{
    memset(r, 0, sizeof *r);
    TRY(cli_open(o, &r->d));
    arena_init(&r->arena, 0);
    enum tacit_err err = prepare(o, r);
    if (err) reading_end(r);
    return err;
}

/* A path that a terminal can open with a click. */
static void print_path(const char *path)
{
    if (isatty(STDOUT_FILENO) && progress_colour(STDOUT_FILENO))
        printf("\033]8;;file://%s\033\\%s\033]8;;\033\\", path, path);
    else
        printf("%s", path);
}

/* "path:12-14", "path:page 3" where there are pages. */
static void print_place(const char *path, uint32_t page, uint32_t line_first,
                        uint32_t line_last)
{
    print_path(path);
    if (page)
        printf(":page %" PRIu32 "\n", page);
    else
        printf(":%" PRIu32 "-%" PRIu32 "\n", line_first, line_last);
}

/* ---- why ---------------------------------------------------------------- */

static double ms(int64_t ns)
{
    return (double)ns / 1e6;
}

static json_t *report_json(const struct search_report *r)
{
    json_t *terms = json_array(), *languages = json_array();
    for (size_t i = 0; i < r->question.n_terms; i++)
        json_array_append_new(terms, json_string(r->question.term[i]));
    for (unsigned i = 0; i < N_LANGUAGES; i++)
        if (r->languages & 1u << i)
            json_array_append_new(languages, json_string(language_code(i)));
    return json_pack("{s:o, s:I, s:o, s:s, s:f, s:I, s:I}", "terms", terms,
                     "terms_left_out", (json_int_t)r->question.n_cut,
                     "languages", languages, "fused_by",
                     r->is_by_scores ? "scores" : "ranks", "weight_of_vectors",
                     r->weight, "matching", (json_int_t)r->n_matching,
                     "candidates", (json_int_t)r->n_candidates);
}

static json_t *timings_json(const struct search_report *r)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "filter_ms",
                     ms(r->filter_ns), "embed_ms", ms(r->embed_ns), "words_ms",
                     ms(r->words_ns), "vectors_ms", ms(r->vectors_ns),
                     "fuse_ms", ms(r->fuse_ns), "read_ms", ms(r->read_ns));
}

static void explain_search(const struct search_report *r)
{
    printf("terms:");
    for (size_t i = 0; i < r->question.n_terms; i++)
        printf(" %s", r->question.term[i]);
    printf("; stemmed as");
    for (unsigned i = 0; i < N_LANGUAGES; i++)
        if (r->languages & 1u << i) printf(" %s", language_code(i));
    printf("\n%zu passages hold one; %zu candidates, fused by %s, weight of "
           "the vectors %.2f\n",
           r->n_matching, r->n_candidates, r->is_by_scores ? "scores" : "ranks",
           r->weight);
    printf("filter %.2f, embed %.2f, words %.2f, vectors %.2f, fuse %.2f, read "
           "%.2f ms\n",
           ms(r->filter_ns), ms(r->embed_ns), ms(r->words_ns),
           ms(r->vectors_ns), ms(r->fuse_ns), ms(r->read_ns));
}

static void print_rank(const char *name, int rank)
{
    if (rank)
        printf("%s #%d", name, rank);
    else
        printf("%s -", name);
}

static void explain_hit(const struct search_hit *h, int is_by_scores)
{
    printf("    ");
    print_rank("words", h->rank_words);
    printf(" (BM25 %.2f), ", h->words);
    print_rank("vectors", h->rank_vectors);
    printf(" (cosine %.3f), score %.4f", (double)h->cosine, h->score);
    if (is_by_scores) printf(", %.0f %% by words", 100 * h->share);
    putchar('\n');
}

static void say_cut(const struct options *o, const struct search_report *r)
{
    if (r->question.n_cut)
        cli_hint(o, "The question is long: %zu of its words were left out.",
                 r->question.n_cut);
}

/* ---- search ------------------------------------------------------------- */

static json_t *also_json(const struct search_hit *h)
{
    json_t *list = json_array();
    for (size_t i = 0; i < h->n_also && i < SEARCH_ALSO_MAX; i++)
        json_array_append_new(list, json_string(h->also[i]));
    return list;
}

static json_t *hit_json(const struct search_hit *h)
{
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:[i, i], s:[I, I], s:f, s:f, s:s%}",
                  "path", h->path, "title", h->title, "heading", h->heading,
                  "kind", h->kind, "lines", (int)h->line_first,
                  (int)h->line_last, "bytes", (json_int_t)h->byte_first,
                  (json_int_t)h->byte_end, "score", h->score, "cosine",
                  (double)h->cosine, "text", h->text, h->text_len);
    json_t *why =
        json_pack("{s:[i, i], s:f, s:i, s:i, s:I, s:o, s:I}", "pages",
                  (int)h->page_first, (int)h->page_last, "bm25", h->words,
                  "rank_words", h->rank_words, "rank_vectors", h->rank_vectors,
                  "passages", (json_int_t)h->n_joined, "also_in", also_json(h),
                  "also_in_documents", (json_int_t)h->n_also);
    if (o && why) json_object_update(o, why);
    json_decref(why);
    return o;
}

/* The beginning of a passage on one line, cut between two characters. */
static void print_snippet(const struct search_hit *h)
{
    size_t n = h->text_len < SNIPPET_BYTES ? h->text_len : SNIPPET_BYTES;
    while (n < h->text_len && n > 0 && (h->text[n] & 0xc0) == 0x80) n--;
    printf("    ");
    for (size_t i = 0; i < n; i++)
        putchar(h->text[i] == '\n' ? ' ' : h->text[i]);
    puts(n < h->text_len ? "…" : "");
}

static enum tacit_err print_hits(const struct options *o,
                                 const struct search_report *r,
                                 const struct search_hit *hits, size_t n)
{
    int explain = options_flag(o, "explain");
    if (cli_json(o)) {
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(list, hit_json(&hits[i]));
        return json_print_ok(stdout, json_pack("{s:o, s:o, s:o}", "hits", list,
                                               "search", report_json(r),
                                               "timings", timings_json(r)));
    }
    if (explain) explain_search(r);
    for (size_t i = 0; i < n; i++) {
        const struct search_hit *h = &hits[i];
        printf("%2zu. %s%s%s\n    ", i + 1, h->title, *h->heading ? " > " : "",
               h->heading);
        print_place(h->path, h->page_first, h->line_first, h->line_last);
        if (explain) explain_hit(h, r->is_by_scores);
        if (h->n_also)
            printf("    also in %zu other document%s: %s%s\n", h->n_also,
                   h->n_also > 1 ? "s" : "", h->also[0],
                   h->n_also > 1 ? " …" : "");
        print_snippet(h);
    }
    say_cut(o, r);
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
    if (!err && n == 0) err = fail_as(E_NOTHING_RELEVANT, "no passage matches");
    if (!err && options_flag(o, "rerank")) err = rerank_hits(&r, hits, n);
    if (!err) err = print_hits(o, &r.report, hits, n);
    reading_end(&r);
    return err;
}

/* ---- ask ---------------------------------------------------------------- */

static json_t *citation_json(const struct answer_citation *c)
{
    return json_pack("{s:i, s:s, s:s, s:s, s:[i, i], s:[i, i], s:[I, I], s:s}",
                     "number", c->number, "path", c->path, "title", c->title,
                     "heading", c->heading, "pages", (int)c->page_first,
                     (int)c->page_last, "lines", (int)c->line_first,
                     (int)c->line_last, "bytes", (json_int_t)c->byte_first,
                     (json_int_t)c->byte_end, "snippet", c->snippet);
}

/* Chance that a passage is about the question. */
static double about(const struct answer_passage *p)
{
    return 1 / (1 + exp(-p->relevance.log_odds));
}

static json_t *passage_json(const struct answer_passage *p)
{
    json_t *o = hit_json(p->hit);
    json_t *why =
        json_pack("{s:f, s:f, s:{s:f, s:f, s:f, s:f, s:f, s:f}, s:i}",
                  "confidence", p->confidence, "log_odds", p->log_odds,
                  "evidence", "sentence", p->relevance.sentence, "passage",
                  p->relevance.passage, "cosine", p->relevance.cosine, "gain",
                  p->relevance.gain, "about", about(p), "answers",
                  p->relevance.answers, "citation", p->citation);
    if (o && why) json_object_update(o, why);
    json_decref(why);
    return o;
}

static json_t *answer_json(const struct answer *a, int64_t id)
{
    json_t *sentences = json_array(), *citations = json_array();
    json_t *passages = json_array(), *timings = timings_json(&a->report);
    for (size_t i = 0; i < a->n_sentences; i++)
        json_array_append_new(sentences,
                              json_pack("{s:s, s:i}", "text",
                                        a->sentences[i].text, "citation",
                                        a->sentences[i].citation));
    for (size_t i = 0; i < a->n_citations; i++)
        json_array_append_new(citations, citation_json(&a->citations[i]));
    for (size_t i = 0; i < a->n_passages; i++)
        json_array_append_new(passages, passage_json(&a->passages[i]));
    json_object_set_new(timings, "search_ms", json_real(ms(a->search_ns)));
    json_object_set_new(timings, "rerank_ms", json_real(ms(a->rerank_ns)));
    json_object_set_new(timings, "write_ms", json_real(ms(a->write_ns)));
    json_t *o = json_pack("{s:I, s:o, s:o, s:f, s:f, s:o, s:o, s:o, s:I}",
                          "answer", (json_int_t)id, "sentences", sentences,
                          "citations", citations, "confidence", a->confidence,
                          "threshold", a->threshold, "passages", passages,
                          "search", report_json(&a->report), "timings", timings,
                          "sentences_left_out", (json_int_t)a->n_more);
    if (o && *a->span)
        json_object_set_new(o, "span",
                            json_pack("{s:s, s:i}", "text", a->span, "citation",
                                      a->span_citation));
    return o;
}

static void explain_answer(const struct answer *a)
{
    putchar('\n');
    explain_search(&a->report);
    printf("needed confidence %.2f\n", a->threshold);
    for (size_t i = 0; i < a->n_passages; i++) {
        const struct answer_passage *p = &a->passages[i];
        const struct search_hit *h = p->hit;
        printf("%2zu. %s%s%s", i + 1, h->title, *h->heading ? " > " : "",
               h->heading);
        if (p->citation) printf(" [%d]", p->citation);
        putchar('\n');
        explain_hit(h, a->report.is_by_scores);
        printf("    confidence %.2f: about the question %.2f, answers it %.2f; "
               "of its words the best sentence holds %.2f, the passage %.2f; "
               "moved by training %.2f\n",
               p->confidence, about(p), p->relevance.answers,
               p->relevance.sentence, p->relevance.passage, p->relevance.gain);
    }
}

/* A sentence with the words that answer in bold, where that can be shown. */
static void print_sentence(const struct answer *a, size_t i)
{
    const char *text = a->sentences[i].text, *at = NULL;
    int bold = *a->span && progress_colour(STDOUT_FILENO);
    if (bold && a->sentences[i].citation == a->span_citation)
        at = strstr(text, a->span);
    if (at)
        printf("%.*s\033[1m%s\033[0m%s", (int)(at - text), text, a->span,
               at + strlen(a->span));
    else
        printf("%s", text);
    printf(" [%d]\n", a->sentences[i].citation);
}

static void print_answer(const struct options *o, const struct answer *a,
                         int64_t id)
{
    for (size_t i = 0; i < a->n_sentences; i++) print_sentence(a, i);
    putchar('\n');
    for (size_t i = 0; i < a->n_citations; i++) {
        const struct answer_citation *c = &a->citations[i];
        printf("[%d] %s%s%s\n    ", c->number, c->title,
               *c->heading ? " > " : "", c->heading);
        print_place(c->path, c->page_first, c->line_first, c->line_last);
    }
    if (options_flag(o, "explain")) explain_answer(a);
    say_cut(o, &a->report);
    if (a->n_more)
        cli_hint(o,
                 "%zu more sentence%s would do as well; `tacit search` shows "
                 "the passages.",
                 a->n_more, a->n_more == 1 ? "" : "s");
    cli_hint(o,
             "Was this right? `tacit feedback %" PRId64 " good` or `bad`. "
             "`tacit open 1` opens a source.",
             id);
}

static enum tacit_err remember(struct reading *r, const struct answer *a,
                               int64_t *id)
{
    struct feedback_source s[ANSWER_CITATIONS_MAX];
    for (size_t i = 0; i < a->n_citations; i++) {
        const struct answer_citation *c = &a->citations[i];
        const char *heading = c->heading;
        /* Passages are known by their innermost heading. */
        for (const char *next; (next = strstr(heading, " > "));)
            heading = next + 3;
        s[i] = (struct feedback_source){c->path, heading, c->page_first,
                                        c->line_first};
    }
    return feedback_answer(&r->d.db, tick_wall_s(), r->text, s, a->n_citations,
                           id);
}

enum tacit_err cli_ask(const struct options *o)
{
    struct reading r;
    struct answer *a = calloc(1, sizeof *a);
    int64_t id = 0;
    if (!a) return fail(TACIT_NOMEM, "no memory for an answer");
    enum tacit_err err = reading_begin(o, &r);
    if (err) {
        free(a);
        return err;
    }
    err = answerer_ask(r.corpus, &r.query, &r.arena, a);
    if (err && err_id() == E_NOTHING_RELEVANT && !cli_json(o) &&
        options_flag(o, "explain"))
        explain_answer(a);
    if (!err) err = remember(&r, a, &id);
    if (!err && cli_json(o))
        err = json_print_ok(stdout, answer_json(a, id));
    else if (!err)
        print_answer(o, a, id);
    reading_end(&r);
    free(a);
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
