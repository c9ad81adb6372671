#include "client/reading.h"

#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/embedding.h"
#include "client/feedback.h"
#include "client/tuning.h"
#include "common/base/codes.h"
#include "common/base/tick.h"
#include "retrieval/rerank.h"

static enum tacit_err join_words(const struct options *o, char **out)
{
    struct buf b;
    buf_init(&b, SEARCH_QUERY_MAX + 1); /* and its end */
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

void reading_end(struct reading *r)
{
    corpus_close(r->corpus);
    encoder_free(r->encoder);
    reranker_close(&r->reranker);
    free(r->adapter);
    readers_close(&r->readers);
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

/* What `search` alone can be told. */
static enum tacit_err read_manner(const struct options *o,
                                  struct search_query *q)
{
    const char *mode = options_value(o, "mode");
    int64_t limit = READING_LIMIT;
    TRY(options_int(o, "limit", 1, READING_LIMIT_MAX, limit, &limit));
    q->limit = (size_t)limit;
    if (options_flag(o, "by-confidence") && limit > RERANK_MAX)
        return fail_as(E_USAGE, "--by-confidence reads at most %d passages",
                       RERANK_MAX);
    TRY(options_real(o, "diversity", 0, 1, &q->diversity));
    q->neighbours =
        options_flag(o, "by-confidence") ? SEARCH_APART : SEARCH_JOINED;
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

/* Who reads the best hits again: the chosen one, unless --rerank 0. */
static enum tacit_err open_reranker(const struct options *o, struct reading *r)
{
    struct reranker_choice c;
    int64_t n = 0;
    int asked = options_value(o, "rerank") != NULL;
    TRY(options_int(o, "rerank", 0, REREAD_MAX, 0, &n));
    TRY(reranker_chosen(&r->d, &c));
    if (asked ? n == 0 : strcmp(c.name, RERANKER_NONE) == 0) return TACIT_OK;
    return reranker_open(&r->d, (size_t)n, &r->reranker);
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
                                     .limit = READING_LIMIT,
                                     .report = &r->report};
    if (has_weight) r->query.weight = &r->weight.weight;
    TRY(open_reranker(o, r));
    if (r->reranker.how.n) r->query.reread = &r->reranker.how;
    if (strcmp(o->command->name, "search") == 0)
        return read_manner(o, &r->query);
    TRY(readers_open(&r->d, &r->readers));
    r->query.reader = r->readers.reader;
    r->threshold = RELEVANCE_THRESHOLD;
    TRY(options_real(o, "threshold", 0, 1, &r->threshold));
    r->query.threshold = &r->threshold;
    return TACIT_OK;
}

enum tacit_err reading_begin(const struct options *o, struct reading *r)
{
    memset(r, 0, sizeof *r);
    r->options = o;
    TRY(cli_open_to_read(o, &r->d));
    arena_init(&r->arena, 0);
    enum tacit_err err = prepare(o, r);
    if (err)
        reading_end(r);
    else if (r->d.db.is_readonly && strcmp(o->command->name, "search") != 0)
        cli_hint(o, "The store may only be read here: no answer is noted, for "
                    "`tacit open` and `tacit feedback`.");
    return err;
}

enum tacit_err reading_remember(struct reading *r, const char *question,
                                const struct answer_citation *list, size_t n,
                                int64_t *id)
{
    struct feedback_source s[ANSWER_CITATIONS_MAX];
    *id = 0;
    if (r->d.db.is_readonly) return TACIT_OK;
    if (n > ANSWER_CITATIONS_MAX) n = ANSWER_CITATIONS_MAX;
    for (size_t i = 0; i < n; i++) {
        const struct answer_citation *c = &list[i];
        const char *heading = c->heading;
        /* Passages are known by their innermost heading. */
        for (const char *next; (next = strstr(heading, " > "));)
            heading = next + 3;
        s[i] = (struct feedback_source){c->path, heading, c->page_first,
                                        c->line_first};
    }
    enum tacit_err err =
        feedback_answer(&r->d.db, tick_wall_s(), question, s, n, id);
    if (!err || err_id() != E_DISK_FULL) return err;
    err_clear();
    cli_hint(r->options, "The disk is full: this answer is not noted, for "
                         "`tacit open` and `tacit feedback`.");
    return TACIT_OK;
}
