/* reader_text_of: a question, a passage and an answer of any bytes, a line
 * each, give numbers, words in order within the passage, and an answer's rows
 * among them; and the built-in reader finds words that stand there, or none. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/built_in.h"
#include "common/model/reader_text.h"
#include "common/model/span_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int holds)
{
    if (!holds) abort();
}

static void expect_finite(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) expect(isfinite(v[i]));
}

static void check(const struct reader_text *t, const struct reader_pair *p,
                  const char *answer)
{
    uint32_t span[2] = {0, 0};
    expect(t->n >= 1 && t->n <= READER_WORDS_MAX + 1);
    expect(t->first[0] == 0 && t->end[0] == 0);
    for (size_t i = 1; i < t->n; i++) {
        expect(t->first[i] < t->end[i] && t->end[i] <= p->passage_bytes);
        expect(i == 1 || t->end[i - 1] <= t->first[i]);
    }
    expect_finite(t->signs, t->n * READER_SIGNS);
    expect_finite(t->vector, t->n * READER_DIM);
    expect_finite(t->focus, READER_DIM);
    expect_finite(t->held, t->n);
    reader_text_find(t, p->passage, answer, span);
    expect(span[0] <= span[1] && span[1] < t->n);
    expect((span[0] == 0) == (span[1] == 0));
    expect(span[1] - span[0] < READER_ANSWER_MAX);
}

static void read_it(const struct reader_pair *p)
{
    static struct span_reader *reader;
    struct span_found f;
    if (!reader && span_reader_new(NULL, 0, &reader)) abort();
    if (span_reader_read(reader, p, &f)) abort();
    expect(f.first == f.end || isfinite(f.margin));
    expect(f.first <= f.end && f.end <= p->passage_bytes);
}

/* The next line, as a string of its own. */
static char *take_line(const uint8_t **at, size_t *left)
{
    const uint8_t *end = *left ? memchr(*at, '\n', *left) : NULL;
    size_t n = end ? (size_t)(end - *at) : *left;
    char *s = malloc(n + 1);
    if (!s) abort();
    for (size_t i = 0; i < n; i++) s[i] = (*at)[i] ? (char)(*at)[i] : ' ';
    s[n] = '\0';
    *at += n + (end != NULL);
    *left -= n + (end != NULL);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct word_table *table;
    struct reader_text t;
    struct arena a;
    if (built_in_words(&table)) abort();
    char *question = take_line(&data, &size), *answer = take_line(&data, &size);
    char *passage = take_line(&data, &size);
    const struct reader_pair p = {question, passage, strlen(question),
                                  strlen(passage)};
    arena_init(&a, 0);
    if (reader_text_of(table, &p, &a, &t)) abort();
    check(&t, &p, answer);
    read_it(&p);
    arena_release(&a);
    free(question);
    free(answer);
    free(passage);
    return 0;
}
