/*
 * `tacit eval answers`: how good answers are, and how good refusals.
 *
 * Every question is answered whatever the confidence; the operating point and
 * the curve are read off the confidences afterwards. A question that nothing
 * answers counts 1 when it is refused and 0 when it is not (as SQuAD 2.0 does).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/eval.h"
#include "client/tuning.h"
#include "common/base/codes.h"
#include "common/base/csv.h"
#include "common/base/plural.h"
#include "retrieval/answerer.h"
#include "retrieval/measure.h"
#include "retrieval/passage_reader.h"
#include "retrieval/shelve.h"
#include "retrieval/squad.h"

enum { CURVE_POINTS = 10, TEXTS_PER_WRITE = 1000, PICTURE_COLUMNS = 60 };

/* A question, wherever it comes from. */
struct asked {
    const char *id, *text;
    const char *const *answers;
    size_t n_answers;
    const char *path; /* of the right document, or its end; NULL = not known */
    int is_answerable;
};

struct outcome {
    double confidence, exact, f1;
    double n_cited, n_cited_right;
    const char *given; /* arena */
};

struct evaluation {
    const struct options *o;
    struct eval_store store;
    struct weight_learnt weight;
    int has_weight, is_closed; /* closed: asked of its own paragraph */
    struct arena text, scratch;
    struct asked *asked;
    struct outcome *outcomes;
    size_t n;
    int knows_answers, knows_documents;
    char writer[NETWORK_NAME_MAX]; /* ""; answers are quoted */
};

/* ---- questions -----------------------------------------------------------
 */

static const char *paragraph_path(struct arena *a, size_t i,
                                  enum tacit_err *err)
{
    char path[32];
    char *copy = NULL;
    int n = snprintf(path, sizeof path, "paragraph/%zu", i);
    if (!*err) *err = arena_strdup(a, path, (size_t)n, &copy);
    return copy;
}

static enum tacit_err shelve_all(struct evaluation *e, const struct squad *s)
{
    struct progress p;
    struct db *db = &e->store.db;
    enum tacit_err err = TACIT_OK;
    progress_begin(&p, cli_progress(e->o), "indexing", "paragraphs",
                   s->n_paragraphs);
    for (size_t i = 0; i < s->n_paragraphs && !err; i++) {
        const char *path = paragraph_path(&e->text, i, &err);
        if (!err && cli_interrupted())
            err = fail_as(E_INTERRUPTED, "interrupted");
        if (!err && sqlite3_get_autocommit(db->sql)) err = db_begin(db);
        if (!err)
            err = shelve_text(e->store.corpus, path, s->paragraphs[i].title,
                              s->paragraphs[i].text);
        int is_full = i + 1 == s->n_paragraphs || i % TEXTS_PER_WRITE == 0;
        if (!err && is_full) err = shelve_end(e->store.corpus);
        if (!err && is_full) err = db_commit(db);
        progress_update(&p, i + 1, NULL);
    }
    progress_end(&p);
    if (err) db_rollback(db);
    return err;
}

static enum tacit_err load_squad(struct evaluation *e, const char *file)
{
    struct squad s;
    enum tacit_err err = TACIT_OK;
    TRY(squad_read(file, &e->text, &s));
    TRY(eval_store_new(&e->store, e->o));
    TRY(shelve_all(e, &s));
    TRY(arena_alloc(&e->text, s.n_questions + 1, sizeof *e->asked, &e->asked));
    for (size_t i = 0; i < s.n_questions && !err; i++) {
        const struct squad_question *q = &s.questions[i];
        e->asked[i] =
            (struct asked){q->id,
                           q->text,
                           q->answers,
                           q->n_answers,
                           paragraph_path(&e->text, q->paragraph, &err),
                           q->n_answers > 0};
    }
    e->n = s.n_questions;
    e->knows_answers = e->knows_documents = 1;
    e->is_closed = !options_flag(e->o, "open");
    return err;
}

static enum tacit_err load_csv(struct evaluation *e, const char *file)
{
    struct csv t;
    size_t question;
    TRY(csv_load(file, &e->text, &t));
    TRY(csv_column(&t, "question", &question));
    long answer = csv_find(&t, "answer"), document = csv_find(&t, "document");
    char all[CSV_NAMES_BYTES];
    if (answer < 0 && document < 0)
        return fail_as(E_CSV_COLUMN,
                       "%s: no column answer and none document; it has %s",
                       file, csv_names(&t, all));
    e->knows_answers = answer >= 0;
    e->knows_documents = document >= 0;
    TRY(arena_alloc(&e->text, t.n_rows + 1, sizeof *e->asked, &e->asked));
    for (size_t i = 0; i < t.n_rows; i++) {
        struct asked *q = &e->asked[e->n++];
        const char **answers = NULL;
        TRY(arena_alloc(&e->text, 1, sizeof *answers, &answers));
        if (answer >= 0) answers[0] = csv_cell(&t, i, (size_t)answer);
        *q = (struct asked){.id = "", .text = csv_cell(&t, i, question)};
        q->answers = answers;
        q->n_answers = answers[0] && *answers[0];
        if (document >= 0 && *csv_cell(&t, i, (size_t)document))
            q->path = csv_cell(&t, i, (size_t)document);
        q->is_answerable = q->n_answers || (answer < 0 && q->path);
    }
    if (!options_value(e->o, "texts")) return eval_store_home(&e->store, e->o);
    TRY(eval_store_new(&e->store, e->o));
    return eval_store_fill(&e->store, e->o, options_value(e->o, "texts"));
}

static enum tacit_err load(struct evaluation *e)
{
    const char *file = e->o->args[0];
    size_t n = strlen(file);
    int64_t limit = INT32_MAX;
    TRY(options_int(e->o, "limit", 1, INT32_MAX, limit, &limit));
    if (n > 4 && strcmp(file + n - 4, ".csv") == 0)
        TRY(load_csv(e, file));
    else
        TRY(load_squad(e, file));
    if (e->n > (size_t)limit) e->n = (size_t)limit;
    if (e->n == 0) return fail_as(E_JUDGED_EMPTY, "%s asks nothing", file);
    int is_told = e->store.has_device; /* by --model, or it is all of its own */
    TRY(eval_store_reranker(&e->store, e->o));
    if (!is_told) return TACIT_OK;
    struct tuning_model m = {e->store.encoder, e->store.adapter};
    return tuning_weight(&e->store.device.db, &m, &e->weight, &e->has_weight);
}

/* ---- asking --------------------------------------------------------------
 */

static int is_right_path(const struct asked *q, const char *path)
{
    size_t n = strlen(path), k = q->path ? strlen(q->path) : 0;
    return q->path && n >= k && strcmp(path + n - k, q->path) == 0 &&
           (n == k || path[n - k - 1] == '/');
}

/* A citation is right when it points into the right document, as far as that is
 * known, and a sentence quoted from it holds an answer, as far as those are. */
static enum tacit_err judge_citations(struct evaluation *e,
                                      const struct asked *q,
                                      const struct answer *a,
                                      struct outcome *out)
{
    for (size_t c = 0; c < a->n_citations; c++) {
        int holds = !q->n_answers;
        for (size_t i = 0; i < a->n_sentences && !holds; i++) {
            const char *text, *want;
            if (a->sentences[i].citation != a->citations[c].number) continue;
            TRY(measure_normalise(&e->scratch, a->sentences[i].text, &text));
            for (size_t w = 0; w < q->n_answers && !holds; w++) {
                TRY(measure_normalise(&e->scratch, q->answers[w], &want));
                holds = strstr(text, want) != NULL;
            }
        }
        int is_there = !q->path || is_right_path(q, a->citations[c].path);
        out->n_cited++;
        out->n_cited_right += q->is_answerable && holds && is_there;
    }
    return TACIT_OK;
}

static enum tacit_err judge_answer(struct evaluation *e, const struct asked *q,
                                   const struct answer *a, struct outcome *out)
{
    const char *got, *want;
    const char *given = *a->span         ? a->span
                        : a->n_sentences ? a->sentences[0].text
                                         : "";
    char *copy = NULL;
    TRY(arena_strdup(&e->text, given, strlen(given), &copy));
    out->given = copy;
    TRY(measure_normalise(&e->scratch, given, &got));
    for (size_t w = 0; w < q->n_answers; w++) {
        double exact, f1;
        TRY(measure_normalise(&e->scratch, q->answers[w], &want));
        TRY(measure_answer(&e->scratch, got, want, &exact, &f1));
        if (exact > out->exact) out->exact = exact;
        if (f1 > out->f1) out->f1 = f1;
    }
    return judge_citations(e, q, a, out);
}

static enum tacit_err query_of(void *ctx, size_t i, struct filter *filter,
                               struct search_query *out)
{
    static const double any = 0;
    struct evaluation *e = ctx;
    const struct asked *q = &e->asked[i];
    arena_reset(&e->scratch);
    *out = (struct search_query){.text = q->text,
                                 .adapter = e->store.adapter,
                                 .weight =
                                     e->has_weight ? &e->weight.weight : NULL,
                                 .filter = filter,
                                 .limit = 5,
                                 .threshold = &any,
                                 .reader = e->store.readers.reader};
    e->outcomes[i] = (struct outcome){.given = ""};
    if (!e->is_closed) return TACIT_OK;
    return filter_add(filter, "path", q->path, FILTER_LIKE);
}

/* NULL: there is none. */
static enum tacit_err judge(void *ctx, size_t i, const struct answer *a)
{
    struct evaluation *e = ctx;
    if (!a) return TACIT_OK;
    e->outcomes[i].confidence = a->confidence;
    return judge_answer(e, &e->asked[i], a, &e->outcomes[i]);
}

static enum tacit_err ask_one(struct evaluation *e, size_t i, struct answer *a)
{
    struct filter filter = {.n = 0};
    struct search_query query;
    TRY(query_of(e, i, &filter, &query));
    enum tacit_err err = answerer_ask(e->store.corpus, &query, &e->scratch, a);
    if (err && err_id() != E_NOTHING_RELEVANT && err_id() != E_QUESTION_EMPTY)
        return err_context(err, "question %.40s", e->asked[i].id);
    if (err) err_clear();
    return judge(e, i, err ? NULL : a);
}

/* By the chosen decoder. */
static enum tacit_err write_all(struct evaluation *e)
{
    const struct eval_asking a = {.o = e->o,
                                  .store = &e->store,
                                  .n = e->n,
                                  .ctx = e,
                                  .query = query_of,
                                  .judge = judge};
    return eval_generate(&a, e->writer);
}

static enum tacit_err ask_all(struct evaluation *e)
{
    struct progress p;
    enum tacit_err err = TACIT_OK;
    struct answer *a = calloc(1, sizeof *a);
    if (!a) return fail(TACIT_NOMEM, "out of memory");
    cli_catch_interrupt();
    progress_begin(&p, cli_progress(e->o), "asking", "questions", e->n);
    for (size_t i = 0; i < e->n && !err; i++) {
        if (cli_interrupted()) err = fail_as(E_INTERRUPTED, "interrupted");
        if (!err) err = ask_one(e, i, a);
        progress_update(&p, i + 1, NULL);
    }
    progress_end(&p);
    free(a);
    return err;
}

/* ---- figures -------------------------------------------------------------
 */

/* At one threshold. */
struct point {
    double threshold, coverage; /* answered / all */
    double exact, f1;           /* over all questions */
    double risk;                /* 1 - F1 of what was answered */
    double refusal_precision, refusal_recall;
    double citation_precision;
};

static double share(double part, double all)
{
    return all > 0 ? part / all : 0;
}

static struct point at_threshold(const struct evaluation *e, double threshold)
{
    struct point p = {.threshold = threshold};
    double n = (double)e->n, n_refused = 0, n_right = 0, n_none = 0;
    double f1_answered = 0, n_cited = 0, n_cited_right = 0;
    for (size_t i = 0; i < e->n; i++) {
        const struct outcome *o = &e->outcomes[i];
        int refused = !(o->confidence >= threshold) || !*o->given;
        int none = !e->asked[i].is_answerable;
        n_none += none;
        n_refused += refused;
        n_right += refused && none;
        p.exact += refused ? none : o->exact;
        p.f1 += refused ? none : o->f1;
        if (refused) continue;
        f1_answered += o->f1;
        n_cited += o->n_cited;
        n_cited_right += o->n_cited_right;
    }
    p.exact /= n;
    p.f1 /= n;
    p.coverage = 1 - n_refused / n;
    p.risk = n > n_refused ? 1 - f1_answered / (n - n_refused) : 0;
    p.refusal_precision = share(n_right, n_refused);
    p.refusal_recall = share(n_right, n_none);
    p.citation_precision = share(n_cited_right, n_cited);
    return p;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x < *y) - (*x > *y);
}

/* What the numbers are printed from. */
struct figures {
    struct point here, curve[CURVE_POINTS];
    double auroc, exact_answerable, f1_answerable;
    size_t n_answerable;
};

static enum tacit_err sum_up(struct evaluation *e, struct figures *f)
{
    double *sorted = NULL;
    struct measure_scored *scored = NULL;
    TRY(arena_alloc(&e->text, e->n, sizeof *sorted, &sorted));
    TRY(arena_alloc(&e->text, e->n, sizeof *scored, &scored));
    for (size_t i = 0; i < e->n; i++) {
        const struct outcome *o = &e->outcomes[i];
        sorted[i] = o->confidence;
        scored[i] =
            (struct measure_scored){o->confidence, e->asked[i].is_answerable};
        if (!e->asked[i].is_answerable) continue;
        f->n_answerable++;
        f->exact_answerable += o->exact;
        f->f1_answerable += o->f1;
    }
    f->exact_answerable = share(f->exact_answerable, (double)f->n_answerable);
    f->f1_answerable = share(f->f1_answerable, (double)f->n_answerable);
    qsort(sorted, e->n, sizeof *sorted, by_size);
    for (size_t i = 0; i < CURVE_POINTS; i++) {
        size_t at = (i + 1) * e->n / CURVE_POINTS;
        f->curve[i] = at_threshold(e, sorted[at ? at - 1 : 0]);
    }
    f->here = at_threshold(e, RELEVANCE_THRESHOLD);
    return measure_auroc(scored, e->n, &e->text, &f->auroc);
}

static json_t *point_json(const struct evaluation *e, const struct point *p)
{
    json_t *o =
        json_pack("{s:f, s:f, s:f, s:f, s:f}", "threshold", p->threshold,
                  "coverage", p->coverage, "refusal_precision",
                  p->refusal_precision, "refusal_recall", p->refusal_recall,
                  "citation_precision", p->citation_precision);
    if (!e->knows_answers) return o;
    json_object_set_new(o, "exact", json_real(p->exact));
    json_object_set_new(o, "f1", json_real(p->f1));
    json_object_set_new(o, "risk", json_real(p->risk));
    return o;
}

static const char *reader_name(const struct evaluation *e)
{
    const struct search_query q = {.reader = e->store.readers.reader};
    return passage_reader_name(&q);
}

static enum tacit_err print_json(const struct evaluation *e,
                                 const struct figures *f)
{
    json_t *curve = json_array(), *rows = json_array();
    for (size_t i = 0; i < CURVE_POINTS; i++)
        json_array_append_new(curve, point_json(e, &f->curve[i]));
    for (size_t i = 0; options_flag(e->o, "per-question") && i < e->n; i++)
        json_array_append_new(
            rows, json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:b}", "id",
                            e->asked[i].id, "question", e->asked[i].text,
                            "answer", e->outcomes[i].given, "confidence",
                            e->outcomes[i].confidence, "exact",
                            e->outcomes[i].exact, "f1", e->outcomes[i].f1,
                            "answerable", e->asked[i].is_answerable));
    json_t *data =
        json_pack("{s:s, s:I, s:I, s:f, s:o, s:o}", "reader", reader_name(e),
                  "questions", (json_int_t)e->n, "answerable",
                  (json_int_t)f->n_answerable, "auroc", f->auroc,
                  "operating_point", point_json(e, &f->here), "curve", curve);
    if (e->knows_answers) {
        json_object_set_new(data, "exact_answerable",
                            json_real(f->exact_answerable));
        json_object_set_new(data, "f1_answerable", json_real(f->f1_answerable));
    }
    eval_store_tell(&e->store, data);
    json_object_set_new(data, "per_question", rows);
    json_object_set_new(data, "writer",
                        *e->writer ? json_string(e->writer) : json_null());
    return json_print_ok(stdout, data);
}

static void print_point(const struct evaluation *e, const struct point *p,
                        const char *mark)
{
    printf("%9.3f %9.3f ", p->threshold, p->coverage);
    if (e->knows_answers)
        printf("%7.3f %7.3f %7.3f ", p->exact, p->f1, p->risk);
    printf("%18.3f %15.3f %19.3f%s\n", p->refusal_precision, p->refusal_recall,
           p->citation_precision, mark);
}

/* The curve as a picture: of the questions that nothing answers, what share is
 * refused, beside the share of those that something does. A confidence that
 * knew nothing would refuse as many of both. */
static void draw_curve(const struct evaluation *e, const struct figures *f)
{
    double n = (double)e->n, none = n - (double)f->n_answerable;
    if (none < 1 || f->n_answerable == 0) return;
    printf("\nrefused: # of the unanswerable, : of the answerable\n");
    for (size_t i = 0; i < CURVE_POINTS; i++) {
        const struct point *p = &f->curve[i];
        double refused = (1 - p->coverage) * n,
               right = p->refusal_recall * none;
        double wrong = (refused - right) / (double)f->n_answerable;
        int a = (int)(PICTURE_COLUMNS * p->refusal_recall + 0.5);
        int b = (int)(PICTURE_COLUMNS * wrong + 0.5);
        printf("%9.3f |", p->threshold);
        for (int k = 0; k < a || k < b; k++) putchar(k < b ? ':' : '#');
        putchar('\n');
    }
}

static void print_table(const struct evaluation *e, const struct figures *f)
{
    printf("%zu question%s, %zu answerable; AUROC of the confidence %.3f; "
           "%s: %s\n",
           e->n, plural_s(e->n), f->n_answerable, f->auroc,
           *e->writer ? "writer" : "reader",
           *e->writer ? e->writer : reader_name(e));
    if (e->store.reranker.how.n)
        printf("the best %zu passage%s read again by %s\n",
               e->store.reranker.how.n, plural_s(e->store.reranker.how.n),
               e->store.reranker.choice.name);
    if (e->knows_answers)
        printf("answerable ones, never refusing: exact %.3f, F1 %.3f\n",
               f->exact_answerable, f->f1_answerable);
    printf("threshold  coverage ");
    if (e->knows_answers) printf("  exact      F1    risk ");
    printf("refusal precision  refusal recall  citation precision\n");
    print_point(e, &f->here, "  <- in use");
    for (size_t i = 0; i < CURVE_POINTS; i++) print_point(e, &f->curve[i], "");
    draw_curve(e, f);
    for (size_t i = 0; options_flag(e->o, "per-question") && i < e->n; i++)
        printf("%.3f  %.2f  %s  ->  %s\n", e->outcomes[i].confidence,
               e->outcomes[i].f1, e->asked[i].text, e->outcomes[i].given);
}

static enum tacit_err evaluate(struct evaluation *e)
{
    struct figures f = {0};
    TRY(load(e));
    TRY(arena_alloc(&e->text, e->n, sizeof *e->outcomes, &e->outcomes));
    TRY(options_flag(e->o, "generate") ? write_all(e) : ask_all(e));
    TRY(sum_up(e, &f));
    if (cli_json(e->o)) return print_json(e, &f);
    print_table(e, &f);
    return TACIT_OK;
}

enum tacit_err cli_eval_answers(const struct options *o)
{
    struct evaluation *e = calloc(1, sizeof *e);
    if (!e) return fail(TACIT_NOMEM, "out of memory");
    e->o = o;
    arena_init(&e->text, 0);
    arena_init(&e->scratch, 0);
    enum tacit_err err = evaluate(e);
    eval_store_close(&e->store);
    arena_release(&e->text);
    arena_release(&e->scratch);
    free(e);
    return err;
}
