/*
 * The built-in reader: how it is trained, and what it is worth.
 *
 *   bench_reader                   JSON lines, on the held-out articles
 *   bench_reader --fit FILE        trains on three of four of the others, and
 *                                  measures on the fourth after every epoch:
 *                                  models/reader.safetensors
 *
 * Data: SQuAD 1.1's and 2.0's dev sets (shared test data): questions of the
 * first, those of the second that nothing answers. Every third article of 1.1,
 * by title, is held out, in both.
 */
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/rng.h"
#include "common/model/arch.h"
#include "common/model/model.h"
#include "common/model/safetensors.h"
#include "common/model/span_reader.h"
#include "retrieval/measure.h"
#include "retrieval/squad.h"
#include "tests/bench/bench.h"

enum { HELD_OUT_OF = 3, CHOSEN_OF = 4, SEED = 1, ROWS_MAX = 1 << 15 };

static const char file_1[] = "squad/dev-v1.1.rebuilt.json.gz";
static const char file_2[] = "squad/dev-v2.0.rebuilt.json.gz";

/* Where an article belongs. */
enum share { FIT, CHOOSE, TEST };

struct set {
    struct squad squad;
    enum share *part; /* [n_articles] */
};

struct desk {
    struct arena a, text;
    struct set one, two;
    struct reader_row rows[ROWS_MAX];
    size_t n_rows;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum share part_of(const char *const *titles, size_t n,
                          const char *title)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(titles[i], title) == 0)
            return i % HELD_OUT_OF == 0               ? TEST
                   : i / HELD_OUT_OF % CHOSEN_OF == 1 ? CHOOSE
                                                      : FIT;
    return TEST;
}

static void load(struct desk *d, const char *name, struct set *s)
{
    size_t n = 0;
    char *json = check_gunzip(check_data(name), &n);
    must(squad_parse(name, json, n, &d->text, &s->squad));
    free(json);
    must(arena_alloc(&d->text, s->squad.n_articles, sizeof *s->part, &s->part));
}

static void split(struct desk *d)
{
    const struct squad *s = &d->one.squad;
    const char **titles = NULL;
    size_t n = 0;
    must(arena_alloc(&d->text, s->n_articles, sizeof *titles, &titles));
    for (size_t i = 0; i < s->n_paragraphs; i++)
        if (s->paragraphs[i].article == n) titles[n++] = s->paragraphs[i].title;
    qsort(titles, n, sizeof *titles, by_name);
    struct set *sets[] = {&d->one, &d->two};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < sets[k]->squad.n_paragraphs; i++) {
            const struct squad_paragraph *p = &sets[k]->squad.paragraphs[i];
            sets[k]->part[p->article] = part_of(titles, n, p->title);
        }
}

/* The answer that most people gave. */
static const char *most_given(const struct squad_question *q)
{
    size_t best = 0, most = 0;
    for (size_t i = 0; i < q->n_answers; i++) {
        size_t n = 0;
        for (size_t k = 0; k < q->n_answers; k++)
            n += strcmp(q->answers[i], q->answers[k]) == 0;
        if (n <= most) continue;
        most = n;
        best = i;
    }
    return q->answers[best];
}

static void take_rows(struct desk *d, const struct set *s, enum share last,
                      int answerable)
{
    for (size_t i = 0; i < s->squad.n_questions; i++) {
        const struct squad_question *q = &s->squad.questions[i];
        const struct squad_paragraph *p = &s->squad.paragraphs[q->paragraph];
        if (s->part[p->article] > last || (q->n_answers > 0) != answerable)
            continue;
        if (d->n_rows == ROWS_MAX) exit(1);
        d->rows[d->n_rows++] =
            (struct reader_row){q->text, p->text,
                                answerable ? most_given(q) : ""};
    }
}

/* ---- figures ----------------------------------------------------------- */

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

struct figures {
    double f1, exact, auroc, n;
};

static void measure(struct desk *d, struct span_reader *r, enum share part,
                    struct figures *out)
{
    struct measure_scored *list = calloc(ROWS_MAX, sizeof *list);
    struct set *sets[] = {&d->one, &d->two};
    size_t n = 0;
    *out = (struct figures){0};
    if (!list) exit(1);
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < sets[k]->squad.n_questions; i++) {
            const struct squad_question *q = &sets[k]->squad.questions[i];
            const struct squad_paragraph *p =
                &sets[k]->squad.paragraphs[q->paragraph];
            struct span_found got;
            char *text = NULL;
            double e;
            if (sets[k]->part[p->article] != part) continue;
            arena_reset(&d->a);
            const struct reader_pair pair = {q->text, p->text, strlen(q->text),
                                             strlen(p->text)};
            must(span_reader_read(r, &pair, &got));
            if (k == 1) {
                list[n++] = (struct measure_scored){(double)got.margin,
                                                    q->n_answers > 0};
                continue;
            }
            must(arena_strdup(&d->a, p->text + got.first, got.end - got.first,
                              &text));
            out->f1 += best_f1(d, q, text, &e);
            out->exact += e;
            out->n++;
        }
    must(measure_auroc(list, n, &d->a, &out->auroc));
    out->f1 /= out->n;
    out->exact /= out->n;
    free(list);
}

static void print_figures(const struct figures *f)
{
    const struct {
        const char *name;
        double value;
    } rows[] = {{"SQuAD 1.1, 16 held-out articles: F1", f->f1},
                {"SQuAD 1.1, 16 held-out articles: exact", f->exact},
                {"SQuAD 2.0, 12 held-out articles: AUROC of the margin over "
                 "no answer",
                 f->auroc}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct bench_figure b = {.bench = "reader_f1",
                                       .name = rows[i].name,
                                       .unit = "share",
                                       .value = rows[i].value};
        bench_print(&b);
    }
}

/* ---- training ---------------------------------------------------------- */

enum { EPOCHS = 4, BATCH = 16 };
static const double rates[EPOCHS] = {0.004, 0.003, 0.002, 0.001};

static void train(struct desk *d, const char *path)
{
    struct model_spec spec = {.kind = "reader", .task = MODEL_READER};
    struct model *m = NULL;
    struct span_reader *r = NULL;
    struct rng rng;
    struct buf b;
    take_rows(d, &d->one, FIT, 1);
    take_rows(d, &d->two, FIT, 0);
    const struct examples ex = {.n_rows = d->n_rows, .read = d->rows};
    must(model_new(&spec, &m));
    struct params *p = model_params(m);
    rng_init(&rng, SEED, 0, 0);
    arch_reader_draw(p, &rng);
    fprintf(stderr, "# %zu rows, %zu weights\n", ex.n_rows, p->n_flat);
    for (uint32_t e = 0; e < EPOCHS; e++) {
        double losses[2];
        const struct model_training how = {.optimizer = "adamw",
                                           .batch = BATCH,
                                           .epochs = 1,
                                           .learning_rate = rates[e],
                                           .weight_decay = 0.01,
                                           .seed = SEED,
                                           .round = e,
                                           .out_losses = losses};
        must(model_train(m, &how, &ex));
        fprintf(stderr, "# epoch %u: loss %.4f\n", e + 1, losses[1]);
        struct figures f;
        must(span_reader_new(p->flat, p->n_flat, &r));
        measure(d, r, CHOOSE, &f);
        fprintf(stderr, "# F1 %.4f exact %.4f AUROC %.4f of %.0f\n", f.f1,
                f.exact, f.auroc, f.n);
        span_reader_free(r);
    }
    buf_init(&b, 0);
    must(safetensors_encode(p, NULL, &b));
    must(file_write(path, b.data, b.len, 0644));
    buf_release(&b);
    model_free(m);
}

int main(int argc, char **argv)
{
    static struct desk d;
    struct span_reader *r = NULL;
    struct figures f;
    rng_setup();
    if (!check_data(file_1) || !check_data(file_2)) {
        fprintf(stderr, "# reader_f1: %s is not here\n", file_1);
        return 0;
    }
    arena_init(&d.a, 0);
    arena_init(&d.text, 0);
    load(&d, file_1, &d.one);
    load(&d, file_2, &d.two);
    split(&d);
    if (argc == 3 && strcmp(argv[1], "--fit") == 0) {
        train(&d, argv[2]);
    } else {
        must(span_reader_new(NULL, 0, &r));
        measure(&d, r, TEST, &f);
        print_figures(&f);
        span_reader_free(r);
    }
    arena_release(&d.a);
    arena_release(&d.text);
    return 0;
}
