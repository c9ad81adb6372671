/* texts: speech that has spelling, grammar and speakers to learn. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/data_jsonl.h"
#include "common/base/rng.h"
#include "sims/data.h"
#include "sims/texts.h"

enum { LENGTH = 64, V = PLAN_VOCABULARY };

static void a_row_is_a_function_of_seed_speaker_and_row(void **state)
{
    (void)state;
    char a[LENGTH + 1], b[2 * LENGTH];
    for (uint64_t r = 0; r < 50; r++) {
        texts_row(1, 2, r, sizeof a, a);
        texts_row(1, 2, r, sizeof b, b);
        check(memcmp(a, b, sizeof a) == 0); /* longer is only longer */
        texts_row(2, 2, r, sizeof b, b);
        check(memcmp(a, b, sizeof a) != 0);
        texts_row(1, 3, r, sizeof b, b);
        check(memcmp(a, b, sizeof a) != 0);
        texts_row(1, 2, r + 1, sizeof b, b);
        check(memcmp(a, b, sizeof a) != 0);
    }
}

static void every_character_can_be_printed(void **state)
{
    (void)state;
    static char text[100000];
    size_t capitals = 0, words = 0;
    for (uint64_t s = 0; s < 20; s++) {
        texts_row(3, s, 0, sizeof text, text);
        for (size_t i = 0; i < sizeof text; i++) {
            check((text[i] >= ' ' && text[i] <= '~') || text[i] == '\n');
            capitals += text[i] >= 'A' && text[i] <= 'Z';
            words += text[i] == ' ';
        }
    }
    check(words > 20 * sizeof text / 9 && capitals > words / 20);
}

/* How often each character follows each in n rows of a speaker. */
static void count(uint64_t s, uint64_t first, size_t n, double pairs[V * V])
{
    memset(pairs, 0, V * V * sizeof *pairs);
    for (size_t r = 0; r < n; r++) {
        char text[LENGTH + 1];
        texts_row(1, s, first + r, sizeof text, text);
        for (size_t i = 0; i < LENGTH; i++)
            pairs[jsonl_token((unsigned char)text[i]) * V +
                  jsonl_token((unsigned char)text[i + 1])]++;
    }
}

/* Bits per character of rows under add-one pairs. */
static double bits(const double *model, const double *rows)
{
    double sum = 0, n = 0;
    for (size_t a = 0; a < V; a++) {
        double all = 0;
        for (size_t b = 0; b < V; b++) all += model[a * V + b] + 0.1;
        for (size_t b = 0; b < V; b++) {
            sum -= rows[a * V + b] * log2((model[a * V + b] + 0.1) / all);
            n += rows[a * V + b];
        }
    }
    return sum / n;
}

/* Two characters tell a lot, and the speaker's own tell more. */
static void there_is_a_language_and_there_are_speakers(void **state)
{
    (void)state;
    static double own[V * V], other[V * V], rows[V * V];
    double with_own = 0, with_other = 0;
    for (uint64_t s = 0; s < 10; s++) {
        count(s, 0, 400, own);
        count(s + 100, 0, 400, other);
        count(s, 1000, 100, rows);
        with_own += bits(own, rows) / 10;
        with_other += bits(other, rows) / 10;
    }
    print_message("own %.3f, another's %.3f bits per character\n", with_own,
                  with_other);
    check(with_own < 3 && with_other > with_own + 0.1 && with_other < 4);
}

static struct plan *plan_of(const char *sim)
{
    struct plan *p = NULL;
    char text[512];
    int n = snprintf(text, sizeof text,
                     "name: texts\ntask: lm\nmodel: {kind: gru, hidden: [8]}\n"
                     "data: {source: own, format: text, length: 20}\n"
                     "cohort: {size: 3, min_reports: 3}\nsim: {%s}\n",
                     sim);
    check_ok(plan_parse("texts.yaml", text, (size_t)n, &p));
    return p;
}

static void rows_are_tokens_and_the_next_ones(void **state)
{
    (void)state;
    struct plan *p = plan_of("clients: 3, rows: 70, threads: 1");
    struct plan *q = plan_of("clients: 5, rows: 90, threads: 3");
    struct pooled a, b;
    char text[21];
    check_ok(data_invent(p, &a));
    check_ok(data_invent(q, &b));
    check(a.n_rows == 210 && a.x_dim == 20 && a.y_dim == 20);
    check(a.n_clients == 3 && a.client[69] == 0 && a.client[70] == 1);
    for (size_t k = 0; k < 3; k++)
        for (size_t r = 0; r < 70; r++) {
            size_t row = (70 * k + r) * 20;
            texts_row(p->seed, k, r, 21, text);
            for (size_t i = 0; i < 20; i++) {
                check_near(a.x[row + i], jsonl_token((uint8_t)text[i]), 0);
                check_near(a.y[row + i], jsonl_token((uint8_t)text[i + 1]), 0);
            }
            check(memcmp(a.x + row, b.x + (90 * k + r) * 20, 80) == 0);
            check(memcmp(a.y + row, b.y + (90 * k + r) * 20, 80) == 0);
        }
    pooled_release(&a);
    pooled_release(&b);
    plan_free(p);
    plan_free(q);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_a_function_of_seed_speaker_and_row),
        cmocka_unit_test(every_character_can_be_printed),
        cmocka_unit_test(there_is_a_language_and_there_are_speakers),
        cmocka_unit_test(rows_are_tokens_and_the_next_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
