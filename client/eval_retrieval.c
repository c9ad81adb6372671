/* `tacit eval retrieval`: how good the search is on judged queries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/eval.h"
#include "client/tuning.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/plural.h"
#include "common/base/tick.h"
#include "retrieval/measure.h"
#include "retrieval/weight.h"

enum { DEFAULT_K = 10, DEEP_K = 100 };

enum way { WORDS, VECTORS, RANKS, SCORES, N_WAYS };

static const struct {
    const char *name;
    enum search_mode mode;
} ways[N_WAYS] = {
    [WORDS] = {"words", SEARCH_WORDS},
    [VECTORS] = {"vectors", SEARCH_VECTORS},
    [RANKS] = {"ranks", SEARCH_RANKS},
    [SCORES] = {"scores", SEARCH_HYBRID},
};

/* What one way of searching, or a run, comes to. */
struct result {
    char name[64];
    struct measures mean;
    double deep_recall; /* at DEEP_K */
    double ms;          /* of a query's search, mean */
    double rerank_ms;   /* of it: of a reranker */
    json_t *queries;    /* owned; NULL unless asked for */
};

struct evaluation {
    const struct options *o;
    struct eval_store store;
    struct judged_queries queries;
    struct judged_qrels qrels, train;
    struct weight_learnt weight;
    int has_weight;
    struct arena text; /* queries, judgements, runs */
    struct arena scratch;
    size_t k, n_judged, n_unasked;
    size_t depth; /* places of a query */
    char corpus[EVAL_PATH_MAX], queries_path[EVAL_PATH_MAX];
    char qrels_path[EVAL_PATH_MAX], train_path[EVAL_PATH_MAX];
    struct result results[N_WAYS];
    size_t n_results;
};

/* ---- what is asked for ---------------------------------------------------
 */

static enum tacit_err copy_path(const struct options *o, const char *name,
                                char *out)
{
    const char *v = options_value(o, name);
    if (v && snprintf(out, EVAL_PATH_MAX, "%s", v) >= EVAL_PATH_MAX)
        return fail_as(E_USAGE, "--%s: a path too long", name);
    return TACIT_OK;
}

static void fill_path(char *path, const char *folder, const char *name)
{
    if (*path) return;
    int n = snprintf(path, EVAL_PATH_MAX, "%s/%s", folder, name);
    if (n < 0 || n >= EVAL_PATH_MAX) *path = '\0';
}

/* A BEIR folder gives what no option names. */
static enum tacit_err find_files(struct evaluation *e)
{
    const struct options *o = e->o;
    char name[128];
    TRY(copy_path(o, "corpus", e->corpus));
    TRY(copy_path(o, "queries", e->queries_path));
    TRY(copy_path(o, "qrels", e->qrels_path));
    TRY(copy_path(o, "train-qrels", e->train_path));
    if (o->n_args) {
        const char *split = options_value(o, "split");
        snprintf(name, sizeof name, "qrels/%.64s.tsv", split ? split : "test");
        fill_path(e->corpus, o->args[0], "corpus.jsonl");
        fill_path(e->queries_path, o->args[0], "queries.jsonl");
        fill_path(e->qrels_path, o->args[0], name);
    }
    if (!*e->qrels_path)
        return fail_as(E_USAGE, "name a BEIR folder, or judgements with "
                                "--qrels FILE");
    if (!*e->queries_path && !options_value(o, "run"))
        return fail_as(E_USAGE, "name the queries with --queries FILE, or a "
                                "run with --run FILE");
    return TACIT_OK;
}

/* Bit i: way i is measured. */
static enum tacit_err read_ways(const struct options *o, unsigned *out)
{
    const char *mode = options_value(o, "mode");
    *out = (1u << N_WAYS) - 1;
    if (!mode || strcmp(mode, "all") == 0) return TACIT_OK;
    for (unsigned i = 0; i < N_WAYS; i++)
        if (strcmp(mode, ways[i].name) == 0) {
            *out = 1u << i;
            return TACIT_OK;
        }
    return fail_as(E_USAGE,
                   "--mode is words, vectors, ranks, scores or all, not "
                   "\"%.40s\"",
                   mode);
}

static enum tacit_err load(struct evaluation *e)
{
    TRY(judged_qrels_read(e->qrels_path, &e->text, &e->qrels));
    if (*e->queries_path)
        TRY(judged_queries_read(e->queries_path, &e->text, &e->queries));
    if (*e->train_path)
        TRY(judged_qrels_read(e->train_path, &e->text, &e->train));
    for (size_t i = 0; i < e->qrels.n; i++)
        e->n_judged += i == 0 || strcmp(e->qrels.list[i].query,
                                        e->qrels.list[i - 1].query) != 0;
    if (e->n_judged == 0)
        return fail_as(E_JUDGED_EMPTY, "%s judges nothing", e->qrels_path);
    return TACIT_OK;
}

/* ---- searching -----------------------------------------------------------
 */

/* The id under which a hit is judged: of a collection it is the path; of the
 * device's documents any end of the path. */
static const char *judged_id(const struct evaluation *e,
                             struct judged_rows rows, const char *path)
{
    if (e->store.folder[0]) return path;
    for (const char *p = path; p; p = strchr(p, '/')) {
        while (*p == '/') p++;
        for (size_t i = 0; i < rows.n; i++)
            if (strcmp(rows.list[i].document, p) == 0) return p;
    }
    return path;
}

/* Hits as documents of a run, each once. */
static enum tacit_err add_places(struct evaluation *e, const char *query,
                                 const struct search_hit *hits, size_t n,
                                 struct judged_run *run)
{
    struct judged_rows rows = judged_of(&e->qrels, query);
    size_t first = run->n;
    for (size_t i = 0; i < n; i++) {
        const char *id = judged_id(e, rows, hits[i].path);
        size_t at = first;
        char *copy = NULL;
        while (at < run->n && strcmp(run->list[at].document, id) != 0) at++;
        if (at < run->n) continue;
        TRY(arena_strdup(&e->text, id, strlen(id), &copy));
        run->list[run->n++] =
            (struct judged_place){query, copy, (float)hits[i].score};
    }
    return TACIT_OK;
}

static struct search_query query_of(const struct evaluation *e, enum way way,
                                    const char *text)
{
    return (struct search_query){
        .text = text,
        .adapter = e->store.adapter,
        .weight = way == SCORES && e->has_weight ? &e->weight.weight : NULL,
        .limit = e->depth,
        .mode = ways[way].mode,
    };
}

/* A reranker's order: its scores are other numbers than the search's, and only
 * the first were read. */
static void number_places(struct search_hit *hits, size_t n)
{
    for (size_t i = 0; i < n; i++) hits[i].score = -(double)i;
}

static enum tacit_err search_all(struct evaluation *e, enum way way,
                                 struct judged_run *run, struct result *r)
{
    int64_t took = 0, reranked = 0;
    size_t n_asked = 0;
    if (e->n_judged > JUDGED_ROWS_MAX / e->depth)
        return fail_as(E_USAGE,
                       "%zu places for each of %zu queries are more than %d; a "
                       "smaller --cutoff",
                       e->depth, e->n_judged, JUDGED_ROWS_MAX);
    TRY(arena_alloc(&e->text, e->n_judged * e->depth, sizeof *run->list,
                    &run->list));
    for (size_t i = 0; i < e->queries.n; i++) {
        const struct judged_query *q = &e->queries.list[i];
        struct search_report report = {0};
        struct search_query query = query_of(e, way, q->text);
        struct search_hit *hits = NULL;
        size_t n = 0;
        query.report = &report;
        if (e->store.reranker.how.n) query.reread = &e->store.reranker.how;
        if (judged_of(&e->qrels, q->id).n == 0) continue;
        if (cli_interrupted()) return fail_as(E_INTERRUPTED, "interrupted");
        arena_reset(&e->scratch);
        int64_t from = tick_ns();
        enum tacit_err err =
            search_hybrid(e->store.corpus, &query, &e->scratch, &hits, &n);
        took += tick_ns() - from;
        reranked += report.reread_ns;
        n_asked++;
        /* What cannot be asked has found nothing. */
        if (err && err_id() != E_QUESTION_EMPTY)
            return err_context(err, "query %.40s", q->id);
        if (err) err_clear();
        if (query.reread) number_places(hits, n);
        TRY(add_places(e, q->id, hits, n, run));
    }
    e->n_unasked = e->n_judged - n_asked;
    r->ms = n_asked ? (double)took / 1e6 / (double)n_asked : 0;
    r->rerank_ms = n_asked ? (double)reranked / 1e6 / (double)n_asked : 0;
    return TACIT_OK;
}

/* A weight that is given counts more than one that was learnt. */
static enum tacit_err take_weight(struct evaluation *e)
{
    double weight = 0;
    if (!options_value(e->o, "weight")) return TACIT_OK;
    TRY(options_real(e->o, "weight", 0, 1, &weight));
    e->weight = (struct weight_learnt){.weight = weight};
    e->has_weight = 1;
    return TACIT_OK;
}

struct grading {
    const struct evaluation *e;
    struct judged_rows rows;
};

static int grade_hit(const struct search_hit *h, void *ctx)
{
    const struct grading *g = ctx;
    return judged_grade(g->rows, judged_id(g->e, g->rows, h->path));
}

static enum tacit_err learn_weight(struct evaluation *e)
{
    struct weight_fit *fit = NULL;
    enum tacit_err err = weight_fit_new(&fit);
    for (size_t i = 0; i < e->queries.n && !err; i++) {
        const struct judged_query *q = &e->queries.list[i];
        struct search_query query = query_of(e, SCORES, q->text);
        struct grading g = {e, judged_of(&e->train, q->id)};
        if (g.rows.n == 0) continue;
        if (cli_interrupted()) {
            err = fail_as(E_INTERRUPTED, "interrupted");
            break;
        }
        err = weight_fit_add(fit, e->store.corpus, &query, grade_hit, &g);
        if (err && err_id() == E_QUESTION_EMPTY) err_clear(), err = TACIT_OK;
    }
    if (!err) err = weight_fit_end(fit, &e->weight);
    weight_fit_free(fit);
    e->has_weight = !err;
    return err;
}

/* ---- measuring -----------------------------------------------------------
 */

static json_t *metrics_json(const struct measures *m, double deep)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "ndcg", m->ndcg,
                     "recall", m->recall, "precision", m->precision, "mrr",
                     m->mrr, "map", m->map, "recall_100", deep);
}

static enum tacit_err measure_query(struct evaluation *e,
                                    const struct judged_run *run,
                                    struct judged_rows rows,
                                    struct measures *out, double *deep)
{
    struct judged_places p = judged_run_of(run, rows.list[0].query);
    struct measures m;
    int *grades = NULL, *judged = NULL;
    arena_reset(&e->scratch);
    TRY(arena_alloc(&e->scratch, p.n + 1, sizeof *grades, &grades));
    TRY(arena_alloc(&e->scratch, rows.n, sizeof *judged, &judged));
    for (size_t i = 0; i < p.n; i++)
        grades[i] = judged_grade(rows, p.list[i].document);
    for (size_t i = 0; i < rows.n; i++) judged[i] = rows.list[i].grade;
    TRY(measure_ranking(grades, p.n, judged, rows.n, DEEP_K, &e->scratch, &m));
    *deep = m.recall;
    return measure_ranking(grades, p.n, judged, rows.n, e->k, &e->scratch, out);
}

static enum tacit_err measure(struct evaluation *e,
                              const struct judged_run *run, struct result *r)
{
    double n = (double)e->n_judged;
    int want_all = options_flag(e->o, "per-query");
    r->queries = want_all ? json_array() : NULL;
    for (size_t i = 0; i < e->qrels.n;) {
        struct judged_rows rows = judged_of(&e->qrels, e->qrels.list[i].query);
        struct measures m;
        double deep;
        TRY(measure_query(e, run, rows, &m, &deep));
        r->mean.ndcg += m.ndcg / n;
        r->mean.recall += m.recall / n;
        r->mean.precision += m.precision / n;
        r->mean.mrr += m.mrr / n;
        r->mean.map += m.map / n;
        r->deep_recall += deep / n;
        if (want_all) {
            json_t *row = metrics_json(&m, deep);
            json_object_set_new(row, "query", json_string(rows.list[0].query));
            json_array_append_new(r->queries, row);
        }
        i += rows.n;
    }
    return TACIT_OK;
}

static enum tacit_err write_run(const char *path, const struct judged_run *run,
                                const char *name)
{
    FILE *f = fopen(path, "w");
    if (!f) return fail(TACIT_IO, "%s: cannot be written", path);
    size_t rank = 0;
    for (size_t i = 0; i < run->n; i++) {
        const struct judged_place *p = &run->list[i];
        rank = i && strcmp(p->query, p[-1].query) == 0 ? rank + 1 : 1;
        fprintf(f, "%s Q0 %s %zu %.9g tacit-%s\n", p->query, p->document, rank,
                (double)p->score, name);
    }
    return fclose(f) == 0 ? TACIT_OK
                          : fail(TACIT_IO, "%s: cannot be written", path);
}

static enum tacit_err evaluate_way(struct evaluation *e, enum way way)
{
    struct result *r = &e->results[e->n_results];
    struct judged_run run = {0};
    snprintf(r->name, sizeof r->name, "%s", ways[way].name);
    TRY(search_all(e, way, &run, r));
    judged_run_sort(&run);
    if (options_value(e->o, "write-run"))
        TRY(write_run(options_value(e->o, "write-run"), &run, r->name));
    TRY(measure(e, &run, r));
    e->n_results++;
    return TACIT_OK;
}

static enum tacit_err evaluate_run(struct evaluation *e, const char *path)
{
    struct result *r = &e->results[e->n_results++];
    struct judged_run run;
    snprintf(r->name, sizeof r->name, "run");
    TRY(judged_run_read(path, &e->text, &run));
    return measure(e, &run, r);
}

static enum tacit_err evaluate(struct evaluation *e)
{
    unsigned chosen;
    int64_t k = DEFAULT_K;
    const char *run = options_value(e->o, "run");
    TRY(options_int(e->o, "cutoff", 1, SEARCH_LIMIT_MAX, k, &k));
    e->k = (size_t)k;
    e->depth = k > DEEP_K ? e->k : DEEP_K;
    TRY(read_ways(e->o, &chosen));
    if (options_value(e->o, "write-run") && (chosen & (chosen - 1)))
        return fail_as(E_USAGE, "--write-run wants one --mode");
    TRY(find_files(e));
    TRY(load(e));
    if (run) return evaluate_run(e, run);
    if (*e->corpus) {
        TRY(eval_store_new(&e->store, e->o));
        TRY(eval_store_fill(&e->store, e->o, e->corpus));
    } else {
        TRY(eval_store_home(&e->store, e->o));
        struct tuning_model m = {e->store.encoder, e->store.adapter};
        TRY(tuning_weight(&e->store.device.db, &m, &e->weight, &e->has_weight));
    }
    if (*e->train_path) TRY(learn_weight(e));
    TRY(take_weight(e));
    TRY(eval_store_reranker(&e->store, e->o));
    for (unsigned way = 0; way < N_WAYS; way++) {
        if (!(chosen & 1u << way)) continue;
        if (way == SCORES && !e->has_weight) {
            cli_hint(e->o, "no weight is learnt: `--train-qrels FILE` learns "
                           "one for --mode scores, `--weight X` gives one");
            if (e->store.adapter) continue;
        }
        TRY(evaluate_way(e, (enum way)way));
    }
    return TACIT_OK;
}

/* ---- printing ------------------------------------------------------------
 */

static json_t *result_json(struct result *r)
{
    json_t *o = metrics_json(&r->mean, r->deep_recall);
    json_object_set_new(o, "mode", json_string(r->name));
    json_object_set_new(o, "search_ms", json_real(r->ms));
    json_object_set_new(o, "rerank_ms", json_real(r->rerank_ms));
    if (r->queries) json_object_set_new(o, "per_query", r->queries);
    r->queries = NULL;
    return o;
}

static enum tacit_err print_json(struct evaluation *e)
{
    json_t *list = json_array();
    for (size_t i = 0; i < e->n_results; i++)
        json_array_append_new(list, result_json(&e->results[i]));
    json_t *data = json_pack("{s:I, s:I, s:I, s:o}", "k", (json_int_t)e->k,
                             "queries", (json_int_t)e->n_judged, "unasked",
                             (json_int_t)e->n_unasked, "modes", list);
    eval_store_tell(&e->store, data);
    if (e->has_weight)
        json_object_set_new(data, "weight", json_real(e->weight.weight));
    return json_print_ok(stdout, data);
}

static const char *queries(size_t n)
{
    return n == 1 ? "query" : "queries";
}

static void print_table(const struct evaluation *e)
{
    int k = (int)e->k;
    size_t n = e->store.reranker.how.n;
    printf("%zu judged %s%s", e->n_judged, queries(e->n_judged),
           e->n_unasked ? ", " : "\n");
    if (e->n_unasked)
        printf("%zu of them without a text count as nothing found\n",
               e->n_unasked);
    if (e->has_weight && e->weight.n_questions)
        printf("weight of the vectors %.2f, from %zu %s\n", e->weight.weight,
               e->weight.n_questions, queries(e->weight.n_questions));
    if (n)
        printf("the best %zu hit%s of each %s read again by %s\n", n,
               plural_s(n), n == 1 ? "is" : "are",
               e->store.reranker.choice.name);
    printf("%-8s %8s@%-3d %6s@%-3d %4s@%-3d %7s %7s %10s %8s\n", "", "nDCG", k,
           "recall", k, "P", k, "MRR", "MAP", "recall@100", "ms/query");
    for (size_t i = 0; i < e->n_results; i++) {
        const struct result *r = &e->results[i];
        const struct measures *m = &r->mean;
        printf("%-8s %12.4f %10.4f %8.4f %7.4f %7.4f %10.4f %8.2f\n", r->name,
               m->ndcg, m->recall, m->precision, m->mrr, m->map, r->deep_recall,
               r->ms);
        for (size_t q = 0; r->queries && q < json_array_size(r->queries); q++) {
            const json_t *row = json_array_get(r->queries, q);
            printf("  %-20s %.4f\n",
                   json_string_value(json_object_get(row, "query")),
                   json_real_value(json_object_get(row, "ndcg")));
        }
    }
}

enum tacit_err cli_eval_retrieval(const struct options *o)
{
    struct evaluation *e = calloc(1, sizeof *e);
    if (!e) return fail(TACIT_NOMEM, "out of memory");
    e->o = o;
    arena_init(&e->text, 0);
    arena_init(&e->scratch, 0);
    enum tacit_err err = evaluate(e);
    if (!err && cli_json(o))
        err = print_json(e);
    else if (!err)
        print_table(e);
    for (size_t i = 0; i < N_WAYS; i++) json_decref(e->results[i].queries);
    eval_store_close(&e->store);
    arena_release(&e->text);
    arena_release(&e->scratch);
    free(e);
    return err;
}
