/*
 * The few words that answer, in the sentence that holds them.
 *
 *   bench_spans                          JSON lines, on the held-out articles
 *   bench_spans --features               rows for calibrate_spans.py
 *   bench_spans --doubts FILE            rows for calibrate_doubts.py: a file
 *                                        in SQuAD's form, not compressed
 *
 * Data: SQuAD 1.1's dev set (shared test data). Every third of its articles, in
 * order of their titles, is held out; the others fit the weights.
 */
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/rng.h"
#include "retrieval/doubt.h"
#include "retrieval/measure.h"
#include "retrieval/schema.h"
#include "retrieval/shelve.h"
#include "retrieval/span.h"
#include "retrieval/squad.h"
#include "tests/bench/bench.h"

enum { HELD_OUT_OF = 3, DOUBTS_FILE_MAX = 64 << 20 };

static const char file[] = "squad/dev-v1.1.rebuilt.json.gz";

struct desk {
    struct db db;
    struct encoder *encoder;
    struct corpus *corpus;
    struct arena a, text;
    struct squad squad;
    int *is_held; /* [n_articles] */
};

static int by_title(const void *a, const void *b)
{
    const struct squad_paragraph *const *x = a, *const *y = b;
    return strcmp((*x)->title, (*y)->title);
}

static void split(struct desk *d)
{
    const struct squad *s = &d->squad;
    const struct squad_paragraph **first = NULL;
    size_t n = 0;
    must(arena_alloc(&d->text, s->n_articles, sizeof *first, &first));
    must(arena_alloc(&d->text, s->n_articles, sizeof *d->is_held, &d->is_held));
    for (size_t i = 0; i < s->n_paragraphs; i++)
        if (s->paragraphs[i].article == n) first[n++] = &s->paragraphs[i];
    qsort(first, n, sizeof *first, by_title);
    for (size_t i = 0; i < n; i++)
        d->is_held[first[i]->article] = i % HELD_OUT_OF == 0;
}

static void open_desk(struct desk *d, const char *json, size_t n)
{
    arena_init(&d->a, 0);
    arena_init(&d->text, 0);
    must(encoder_new(&d->encoder));
    must(schema_open(&d->db, ":memory:", DB_CREATE, NULL));
    must(corpus_open(&d->db, d->encoder, &d->corpus));
    must(squad_parse(file, json, n, &d->text, &d->squad));
    must(db_begin(&d->db));
    for (size_t i = 0; i < d->squad.n_paragraphs; i++) {
        char path[32];
        snprintf(path, sizeof path, "%zu", i);
        must(shelve_text(d->corpus, path, d->squad.paragraphs[i].title,
                         d->squad.paragraphs[i].text));
    }
    must(shelve_end(d->corpus));
    must(db_commit(&d->db));
    split(d);
}

/* Per question: is it answerable, the signs of doubt.h in the sentence that
 * holds most of it. */
static void print_doubts(struct desk *d)
{
    static struct passage p;
    for (size_t i = 0; i < d->squad.n_questions; i++) {
        const struct squad_question *q = &d->squad.questions[i];
        struct search_query query = {.text = q->text, .limit = 1};
        struct search_hit hit = {.chunk_id = (int64_t)q->paragraph + 1,
                                 .text =
                                     d->squad.paragraphs[q->paragraph].text};
        struct inquiry *inquiry = NULL;
        double x[N_DOUBTS];
        arena_reset(&d->a);
        hit.text_len = strlen(hit.text);
        must(arena_alloc(&d->a, 1, sizeof *inquiry, &inquiry));
        if (relevance_inquire(d->corpus, &query, &d->a, inquiry)) {
            err_clear();
            continue;
        }
        must(relevance_read(d->corpus, inquiry, &hit, &p));
        if (!p.n_sentences) continue;
        doubt_signs(inquiry, &p, p.best, x);
        printf("%d", q->n_answers > 0);
        for (size_t f = 0; f < N_DOUBTS; f++) printf("\t%.6f", x[f]);
        putchar('\n');
    }
}

static double best_f1(struct desk *d, const struct squad_question *q,
                      const char *given, double *exact)
{
    double best = 0;
    const char *got, *want;
    *exact = 0;
    must(measure_normalise(&d->a, given, &got));
    for (size_t i = 0; i < q->n_answers; i++) {
        double e, f1;
        must(measure_normalise(&d->a, q->answers[i], &want));
        must(measure_answer(&d->a, got, want, &e, &f1));
        if (e > *exact) *exact = e;
        if (f1 > best) best = f1;
    }
    return best;
}

/* The candidates of the first sentence that holds an answer; 0 when none does.
 * gold[i] = candidate i is an answer. */
static int read_question(struct desk *d, const struct squad_question *q,
                         struct span **list, size_t *n, int **gold)
{
    static struct passage p;
    struct search_query query = {.text = q->text, .limit = 1};
    struct search_hit hit = {.chunk_id = (int64_t)q->paragraph + 1,
                             .text = d->squad.paragraphs[q->paragraph].text};
    struct inquiry *inquiry = NULL;
    arena_reset(&d->a);
    hit.text_len = strlen(hit.text);
    must(arena_alloc(&d->a, 1, sizeof *inquiry, &inquiry));
    if (relevance_inquire(d->corpus, &query, &d->a, inquiry)) {
        err_clear();
        return 0;
    }
    must(relevance_read(d->corpus, inquiry, &hit, &p));
    for (size_t s = 0; s < p.n_sentences; s++) {
        int found = 0;
        must(span_list(inquiry, &p, s, &d->a, list, n));
        must(arena_alloc(&d->a, *n + 1, sizeof **gold, gold));
        for (size_t i = 0; i < *n; i++) {
            char *text = NULL;
            double exact;
            must(arena_strdup(&d->a, hit.text + (*list)[i].first,
                              (*list)[i].end - (*list)[i].first, &text));
            best_f1(d, q, text, &exact);
            (*gold)[i] = exact > 0;
            found |= exact > 0;
        }
        if (found) return 1;
    }
    return 0;
}

static void print_features(struct desk *d)
{
    for (size_t i = 0; i < d->squad.n_questions; i++) {
        const struct squad_question *q = &d->squad.questions[i];
        struct span *list = NULL;
        size_t n = 0;
        int *gold = NULL;
        if (d->is_held[d->squad.paragraphs[q->paragraph].article]) continue;
        if (!read_question(d, q, &list, &n, &gold)) continue;
        for (size_t k = 0; k < n; k++) {
            printf("%zu %d", i, gold[k]);
            for (size_t f = 0; f < SPAN_FEATURES; f++)
                if (list[k].x[f] > 0 || list[k].x[f] < 0)
                    printf(" %zu:%.4g", f, list[k].x[f]);
            putchar('\n');
        }
    }
}

static void measure(struct desk *d)
{
    double n_asked = 0, f1 = 0, exact = 0;
    for (size_t i = 0; i < d->squad.n_questions; i++) {
        const struct squad_question *q = &d->squad.questions[i];
        struct span *list = NULL, *best = NULL;
        size_t n = 0;
        int *gold = NULL;
        double e;
        char *text = NULL;
        if (!d->is_held[d->squad.paragraphs[q->paragraph].article]) continue;
        if (!read_question(d, q, &list, &n, &gold)) continue;
        for (size_t k = 0; k < n; k++)
            if (!best || list[k].score > best->score) best = &list[k];
        must(arena_strdup(&d->a,
                          d->squad.paragraphs[q->paragraph].text + best->first,
                          best->end - best->first, &text));
        f1 += best_f1(d, q, text, &e);
        exact += e;
        n_asked++;
    }
    struct bench_figure f = {.bench = "span_f1", .unit = "share"};
    f.name = "SQuAD 1.1, 16 held-out articles, in the right sentence: F1";
    f.value = f1 / n_asked;
    bench_print(&f);
    f.name = "SQuAD 1.1, 16 held-out articles, in the right sentence: exact";
    f.value = exact / n_asked;
    bench_print(&f);
}

/* A file as it is, or unpacked. */
static char *load(const char *path, int is_packed, size_t *n)
{
    struct buf text;
    if (is_packed) return check_gunzip(path, n);
    buf_init(&text, 0);
    must(file_read(path, DOUBTS_FILE_MAX, &text));
    *n = text.len;
    return (char *)text.data;
}

int main(int argc, char **argv)
{
    static struct desk d;
    size_t n = 0;
    int doubts = argc == 3 && strcmp(argv[1], "--doubts") == 0;
    const char *path = doubts ? argv[2] : check_data(file);
    rng_setup();
    if (!path) {
        fprintf(stderr, "# span_f1: %s is not here\n", file);
        return 0;
    }
    char *json = load(path, !doubts, &n);
    open_desk(&d, json, n);
    if (doubts)
        print_doubts(&d);
    else if (argc == 2 && strcmp(argv[1], "--features") == 0)
        print_features(&d);
    else
        measure(&d);
    corpus_close(d.corpus);
    db_close(&d.db);
    encoder_free(d.encoder);
    arena_release(&d.a);
    arena_release(&d.text);
    free(json);
    return 0;
}
