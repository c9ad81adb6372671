/*
 * reader_text: a question and a passage as the built-in reader sees them.
 *
 *   "Who composed it?"  "It was composed by Clara Schumann in 1846."
 *
 *   row 0            there is no answer: what the passage as a whole lacks
 *   row 1 … n - 1    its words: signs [n, READER_SIGNS] and
 *                    vectors [n, READER_DIM]
 *   focus            what is asked for: "what city" -> city
 *
 * Signs are what can be seen of a word: how it is written, what stands beside
 * it, whether the question has it or one like it, how much of the question its
 * sentence holds and how near that stands, and its looks with the kind of the
 * question (a name where "who" is asked). Vectors are the leading numbers of
 * the words' rows of the built-in encoder, which hold most of them
 * (distill_pca.h); rare words weigh more, by their place in its list.
 *
 * After the features of DrQA's reader (Chen et al. 2017, arXiv 1704.00051);
 * differs: alignment by the table's cosines, no tagger, a row for no answer.
 *
 * Pure: the same texts give the same numbers on every machine with the same
 * vector instructions.
 */
#ifndef TACIT_MODEL_READER_TEXT_H
#define TACIT_MODEL_READER_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/model/word_table.h"

enum {
    READER_SIGNS = 96,
    READER_DIM = 64,          /* leading numbers of a word's vector */
    READER_WORDS_MAX = 400,   /* of a passage; the rest is not read */
    READER_QUESTION_MAX = 48, /* words */
    READER_ANSWER_MAX = 16    /* words of an answer */
};

/* All arena. */
struct reader_text {
    size_t n;              /* rows: words + 1 */
    uint32_t *first, *end; /* [n] bytes of the passage; row 0: 0, 0 */
    float *signs, *vector; /* [n, READER_SIGNS], [n, READER_DIM] */
    float *focus;          /* [READER_DIM] */
    float *held;           /* [n] how much of the question stands around */
};

struct reader_pair {
    const char *question, *passage; /* borrowed */
    size_t question_bytes, passage_bytes;
};

/* FORMAT: the table is damaged. */
TACIT_CHECKED enum tacit_err reader_text_of(const struct word_table *table,
                                            const struct reader_pair *p,
                                            struct arena *a,
                                            struct reader_text *out);
/* First and last row of an answer; where it stands several times, the place
 * around which most of the question stands. 0, 0 when it does not, or is too
 * long, or is "". */
void reader_text_find(const struct reader_text *t, const char *passage,
                      const char *answer, uint32_t span[2]);

#endif
