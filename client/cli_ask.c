/* Commands that read the documents: search, ask, feedback. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/feedback.h"
#include "common/base/codes.h"
#include "common/base/tick.h"
#include "retrieval/answerer.h"

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
        err = fail(TACIT_LIMIT, "the question is longer than %d bytes",
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

static enum tacit_err prepare(const struct options *o, struct reading *r)
{
    int64_t limit = SEARCH_DEFAULT;
    TRY(join_words(o, &r->text));
    TRY(encoder_new(&r->encoder));
    TRY(corpus_open(&r->d.db, r->encoder, &r->corpus));
    TRY(device_adapter(&r->d, ENCODER_DIM, &r->adapter));
    if (strcmp(o->command->name, "search") == 0)
        TRY(options_int(o, "limit", 1, SEARCH_LIMIT_MAX, limit, &limit));
    if (options_value(o, "in"))
        TRY(filter_add(&r->filter, "path", options_value(o, "in"),
                       FILTER_LIKE));
    r->query = (struct search_query){.text = r->text,
                                     .adapter = r->adapter,
                                     .filter = &r->filter,
                                     .limit = (size_t)limit};
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

/* ---- search ------------------------------------------------------------- */

static json_t *hit_json(const struct search_hit *h)
{
    return json_pack("{s:s, s:s, s:s, s:[i, i], s:[I, I], s:f, s:f, s:s%}",
                     "path", h->path, "title", h->title, "heading", h->heading,
                     "lines", (int)h->line_first, (int)h->line_last, "bytes",
                     (json_int_t)h->byte_first, (json_int_t)h->byte_end,
                     "score", h->score, "cosine", (double)h->cosine, "text",
                     h->text, h->text_len);
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
                                 const struct search_hit *hits, size_t n)
{
    if (cli_json(o)) {
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(list, hit_json(&hits[i]));
        return json_print_ok(stdout, json_pack("{s:o}", "hits", list));
    }
    for (size_t i = 0; i < n; i++) {
        const struct search_hit *h = &hits[i];
        printf("%2zu. %s%s%s\n    ", i + 1, h->title, *h->heading ? " > " : "",
               h->heading);
        print_path(h->path);
        printf(":%" PRIu32 "-%" PRIu32 "\n", h->line_first, h->line_last);
        print_snippet(h);
    }
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
    if (!err) err = print_hits(o, hits, n);
    reading_end(&r);
    return err;
}

/* ---- ask ---------------------------------------------------------------- */

static json_t *answer_json(const struct answer *a, int64_t id)
{
    json_t *sentences = json_array(), *citations = json_array();
    for (size_t i = 0; i < a->n_sentences; i++)
        json_array_append_new(sentences,
                              json_pack("{s:s, s:i}", "text",
                                        a->sentences[i].text, "citation",
                                        a->sentences[i].citation));
    for (size_t i = 0; i < a->n_citations; i++) {
        const struct answer_citation *c = &a->citations[i];
        json_array_append_new(
            citations,
            json_pack("{s:i, s:s, s:s, s:s, s:[i, i], s:[I, I], s:s}", "number",
                      c->number, "path", c->path, "title", c->title, "heading",
                      c->heading, "lines", (int)c->line_first,
                      (int)c->line_last, "bytes", (json_int_t)c->byte_first,
                      (json_int_t)c->byte_end, "snippet", c->snippet));
    }
    return json_pack("{s:I, s:o, s:o, s:f, s:f}", "answer", (json_int_t)id,
                     "sentences", sentences, "citations", citations,
                     "confidence", a->confidence, "threshold", a->threshold);
}

static void print_answer(const struct options *o, const struct answer *a,
                         int64_t id)
{
    for (size_t i = 0; i < a->n_sentences; i++)
        printf("%s [%d]\n", a->sentences[i].text, a->sentences[i].citation);
    putchar('\n');
    for (size_t i = 0; i < a->n_citations; i++) {
        const struct answer_citation *c = &a->citations[i];
        printf("[%d] %s%s%s\n    ", c->number, c->title,
               *c->heading ? " > " : "", c->heading);
        print_path(c->path);
        printf(":%" PRIu32 "-%" PRIu32 "\n", c->line_first, c->line_last);
    }
    cli_hint(o, "Was this right? `tacit feedback %" PRId64 " good` or `bad`.",
             id);
}

static enum tacit_err remember(struct reading *r, const struct answer *a,
                               int64_t *id)
{
    struct feedback_source s[ANSWER_CITATIONS_MAX];
    for (size_t i = 0; i < a->n_citations; i++) {
        const char *heading = a->citations[i].heading;
        /* Passages are known by their innermost heading. */
        for (const char *next; (next = strstr(heading, " > "));)
            heading = next + 3;
        s[i] = (struct feedback_source){a->citations[i].path, heading};
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
