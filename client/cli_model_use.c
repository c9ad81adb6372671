/* `tacit model use`: which network searches, reads, orders hits, writes. */
#include <stdio.h>
#include <string.h>

#include "client/cli.h"
#include "client/embedding.h"
#include "client/generator.h"
#include "client/networks.h"
#include "client/readers.h"
#include "client/reranker.h"
#include "common/base/codes.h"
#include "common/base/plural.h"

static enum tacit_err print_use(const struct options *o, struct device *d,
                                const struct embedding_choice *c,
                                size_t n_stale)
{
    int is_aside = 0;
    TRY(embedding_sets_aside(d, &is_aside));
    if (cli_json(o))
        return json_print_ok(stdout,
                             json_pack("{s:s, s:I, s:s, s:s, s:I, s:b}",
                                       "searches", c->name, "numbers",
                                       (json_int_t)c->dim, "question_prefix",
                                       c->question, "passage_prefix",
                                       c->passage, "stale_documents",
                                       (json_int_t)n_stale, "adapter_set_aside",
                                       is_aside));
    printf("%s searches here now (vectors of %zu numbers)\n", c->name, c->dim);
    if (c->question[0] || c->passage[0])
        printf("before questions \"%s\", before passages \"%s\"\n", c->question,
               c->passage);
    if (n_stale)
        printf("%zu document%s found by %s words alone until `tacit reindex` "
               "has read %s again\n",
               n_stale, n_stale == 1 ? " is" : "s are",
               n_stale == 1 ? "its" : "their", n_stale == 1 ? "it" : "them");
    if (is_aside)
        printf("the federation's search adapter is for the built-in encoder: "
               "it is set aside until `tacit model use built-in`\n");
    return TACIT_OK;
}

static enum tacit_err use_encoder(const struct options *o, struct device *d)
{
    struct embedding_choice c;
    size_t n_stale = 0;
    TRY(embedding_read(d, o->args[0], options_value(o, "query-prefix"),
                       options_value(o, "passage-prefix"), &c));
    TRY(embedding_use(d, &c, &n_stale));
    return print_use(o, d, &c, n_stale);
}

/* m NULL: the built-in one. */
static enum tacit_err use_reader(const struct options *o, struct device *d,
                                 const struct network_row *m)
{
    const char *name = m ? m->name : "built-in";
    TRY(readers_use(d, m));
    if (cli_json(o))
        return json_print_ok(stdout, json_pack("{s:s}", "reads", name));
    printf("%s reads the passages for the words that answer now\n", name);
    return TACIT_OK;
}

/* m NULL: nobody writes. */
static enum tacit_err use_generator(const struct options *o, struct device *d,
                                    const struct network_row *m)
{
    const char *name = m ? m->name : GENERATOR_NONE;
    TRY(generator_use(d, m));
    if (cli_json(o))
        return json_print_ok(stdout, json_pack("{s:s}", "writes", name));
    if (m)
        printf("%s writes the answers of `tacit ask` and `tacit chat` now\n",
               name);
    else
        printf("answers are quoted from the documents again\n");
    return TACIT_OK;
}

/* m NULL: nobody reads again. */
static enum tacit_err use_reranker(const struct options *o, struct device *d,
                                   const struct network_row *m)
{
    const char *name = m ? m->name : RERANKER_NONE;
    int64_t n = REREAD_DEFAULT;
    TRY(options_int(o, "rerank", 1, REREAD_MAX, n, &n));
    TRY(reranker_use(d, m, (size_t)n));
    if (cli_json(o))
        return json_print_ok(stdout,
                             json_pack("{s:s, s:I}", "reranks", name,
                                       "passages", (json_int_t)(m ? n : 0)));
    if (m)
        printf("%s reads the best %lld hit%s again now, and orders them\n",
               name, (long long)n, plural_s(n));
    else
        printf("hits stand in the order of the search again\n");
    return TACIT_OK;
}

enum use { USE_AS_MADE, USE_SEARCH, USE_ANSWERS, USE_RERANK, USE_READS };

static enum tacit_err read_use(const struct options *o, enum use *out)
{
    static const char *const names[] = {"", "search", "answers", "rerank",
                                        "reads"};
    const char *as = options_value(o, "as");
    *out = USE_AS_MADE;
    for (size_t i = USE_SEARCH; as && i <= USE_READS; i++)
        if (strcmp(as, names[i]) == 0) *out = (enum use)i;
    if (as && *out == USE_AS_MADE)
        return fail_as(E_USAGE,
                       "--as is search, answers, rerank or reads, not "
                       "\"%.40s\"",
                       as);
    if (options_value(o, "rerank") && as && *out != USE_RERANK)
        return fail_as(E_USAGE, "--rerank is for a reranker");
    return TACIT_OK;
}

/* What the network was made for. */
static enum tacit_err find_use(struct device *d, const struct network_row *m,
                               enum use *out)
{
    int reads = 0;
    uint64_t n = 0;
    *out = USE_SEARCH;
    if (generator_fits(m->family)) *out = USE_ANSWERS;
    if (strcmp(m->family, "bert") != 0) return TACIT_OK;
    TRY(readers_fit(d, m, &reads));
    if (reads) *out = USE_READS;
    if (reads) return TACIT_OK;
    TRY(reranker_outputs(d, m, &n));
    if (n == 1) *out = USE_RERANK;
    if (n <= 1) return TACIT_OK;
    return fail_as(E_MODEL_UNSUPPORTED,
                   "%s sorts texts into %llu classes, which nothing here asks "
                   "for; --as search searches with the network below its head",
                   m->name, (unsigned long long)n);
}

static enum tacit_err check_options(const struct options *o, enum use use)
{
    int has_prefix =
        options_value(o, "query-prefix") || options_value(o, "passage-prefix");
    if (options_value(o, "rerank") && use != USE_RERANK)
        return fail_as(E_USAGE, "--rerank is for a reranker; %s is none",
                       o->args[0]);
    if (has_prefix && use != USE_SEARCH)
        return fail_as(E_USAGE, "prefixes are for an encoder that searches");
    return TACIT_OK;
}

enum tacit_err cli_model_use(const struct options *o)
{
    struct device d;
    struct network_row m, *chosen = NULL;
    const char *name = o->args[0];
    enum use use;
    TRY(read_use(o, &use));
    TRY(cli_open(o, &d));
    enum tacit_err err = TACIT_OK;
    if (strcmp(name, GENERATOR_NONE) == 0) {
        if (use == USE_AS_MADE) use = USE_ANSWERS;
    } else if (strcmp(name, READERS_BUILT_IN) == 0) {
        if (use != USE_AS_MADE && use != USE_READS)
            err = fail_as(E_USAGE, "the built-in reader reads, no more");
        use = USE_READS;
    } else if (strcmp(name, EMBEDDING_BUILT_IN) == 0) {
        if (use > USE_SEARCH)
            err = fail_as(E_USAGE, "the built-in encoder searches, no more");
        use = USE_SEARCH;
    } else {
        err = networks_find(&d, name, &m);
        if (!err && use == USE_AS_MADE) err = find_use(&d, &m, &use);
        chosen = &m;
    }
    if (!err) err = check_options(o, use);
    if (!err && use == USE_SEARCH) err = use_encoder(o, &d);
    if (!err && use == USE_ANSWERS) err = use_generator(o, &d, chosen);
    if (!err && use == USE_RERANK) err = use_reranker(o, &d, chosen);
    if (!err && use == USE_READS) err = use_reader(o, &d, chosen);
    device_close(&d);
    return err;
}
