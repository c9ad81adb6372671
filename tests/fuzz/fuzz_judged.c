/* Any bytes as judgements, a run, queries and SQuAD's JSON: refused with a
 * message, or rows in order, each once, whose figures lie between 0 and 1. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "retrieval/judged.h"
#include "retrieval/measure.h"
#include "retrieval/squad.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_refused(enum tacit_err err)
{
    assert(err == TACIT_FORMAT || err == TACIT_LIMIT);
    assert(err_message()[0] != '\0' && err_id() != 0);
    err_clear();
}

static int is_share(double v)
{
    return v >= 0 && v <= 1 + 1e-9;
}

static void check_figures(const struct judged_qrels *q, struct arena *a)
{
    for (size_t i = 0; i < q->n;) {
        struct judged_rows rows = judged_of(q, q->list[i].query);
        struct measures m;
        int *grades = NULL;
        assert(rows.n >= 1 && rows.list == q->list + i);
        if (arena_alloc(a, rows.n, sizeof *grades, &grades)) break;
        for (size_t k = 0; k < rows.n; k++) {
            grades[k] = judged_grade(rows, rows.list[k].document);
            assert(grades[k] == rows.list[k].grade);
        }
        if (measure_ranking(grades, rows.n, grades, rows.n, 3, a, &m)) break;
        assert(is_share(m.ndcg) && is_share(m.recall) && is_share(m.map));
        assert(is_share(m.precision) && is_share(m.mrr));
        i += rows.n;
    }
    err_clear();
}

static void check_run(const struct judged_run *r)
{
    for (size_t i = 1; i < r->n; i++) {
        const struct judged_place *p = &r->list[i - 1], *n = &r->list[i];
        int order = strcmp(p->query, n->query);
        assert(order <= 0);
        if (order == 0) assert(p->score >= n->score);
    }
}

static void check_squad(const struct squad *s, struct arena *a)
{
    for (size_t i = 0; i < s->n_questions; i++) {
        const struct squad_question *q = &s->questions[i];
        assert(q->paragraph < s->n_paragraphs);
        for (size_t k = 0; k < q->n_answers; k++) {
            const char *x = NULL;
            double exact, f1;
            if (measure_normalise(a, q->answers[k], &x)) break;
            assert(strlen(x) <= strlen(q->answers[k]));
            if (measure_answer(a, x, x, &exact, &f1)) break;
            assert(exact > 0 && is_share(f1));
        }
    }
    err_clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct judged_qrels q;
    struct judged_run r;
    struct judged_queries u;
    struct squad s;
    char *text = malloc(size + 1);
    assert(text);
    if (size) memcpy(text, data, size);
    arena_init(&a, 64 << 20);
    enum tacit_err err = judged_qrels_parse("fuzz", text, size, &a, &q);
    if (err)
        check_refused(err);
    else
        check_figures(&q, &a);
    if ((err = judged_run_parse("fuzz", text, size, &a, &r)))
        check_refused(err);
    else
        check_run(&r);
    if ((err = judged_queries_parse("fuzz", text, size, &a, &u)))
        check_refused(err);
    if ((err = squad_parse("fuzz", text, size, &a, &s)))
        check_refused(err);
    else
        check_squad(&s, &a);
    arena_release(&a);
    free(text);
    return 0;
}
