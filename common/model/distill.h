/*
 * distill: from what a network makes of many texts to a table of words
 * (word_table.h) that makes nearly the same of them, ten thousand times as
 * fast.
 *
 *   texts ──count──> lexicon: the most frequent words
 *   texts, words ──teacher──> vectors ──PCA──> y, |y| = 1      [dim]
 *   row of a word    y of the word, times a / (a + its frequency)
 *   row of a bucket  mean of y of the words that have the n-gram, normalised
 *   then steps of Adam on batches: texts, words, and words as if unknown
 *     s = normalise(sum of rows)      op_imitate(s, y)
 *   then frequent words are made quieter, and what all texts share is taken out
 *
 * The first rows are those of model2vec (Tulkens and van Dongen 2024, after the
 * SIF weights of Arora et al. 2017); the steps are what it calls tokenlearn.
 * Differs: words, not the teacher's pieces; the steps move rows, their lengths
 * included, by directions and similarities; neighbouring texts stay together in
 * a batch, so that what is near what is learnt where it is close; the mean and
 * the largest directions go at the end, not a second PCA's smallest.
 *
 * One text in 50 is held out, and its cosine before that last step reported.
 *
 * Thread rule: one thread; the same seed, texts and vectors give the same file
 * on machines with the same instructions.
 */
#ifndef TACIT_MODEL_DISTILL_H
#define TACIT_MODEL_DISTILL_H

#include "common/model/encoder.h"
#include "common/model/features.h"
#include "common/tensor/quant.h"

enum {
    DISTILL_TEXTS_MAX = 1 << 21,
    DISTILL_WORDS_MAX = 1 << 18,
    DISTILL_BUCKETS_MAX = 1 << 18,
    DISTILL_EPOCHS_MAX = 1000,
    DISTILL_DIM_MAX = 1024
};

struct distill_config {
    size_t dim;     /* of the table; at most the teacher's */
    size_t words;   /* at most so many */
    size_t buckets; /* of n-grams */
    size_t epochs;
    double rate; /* of Adam, falling to 0 */
    uint64_t seed;
    enum quant_type type; /* of the rows in the file */
};
extern const struct distill_config distill_usual;

/* What the lexicon is made of: words and how often each stands in the texts. */
struct distill_words {
    struct text *word; /* [n], the most frequent first; arena */
    uint64_t *count;   /* [n] */
    size_t n;
    uint64_t total; /* of all words, the rare ones too */
};
/* LIMIT; FORMAT when the texts have no words. */
TACIT_CHECKED enum tacit_err distill_count(struct arena *a,
                                           const struct text *texts, size_t n,
                                           size_t most,
                                           struct distill_words *out);

struct distill_report {
    size_t epoch;         /* 0: before the first step */
    double loss;          /* mean of the epoch; of nothing before it */
    double cosine;        /* of held-out texts to the teacher's vectors */
    uint64_t done, total; /* texts */
};
struct distill_job {
    const struct text *texts;
    size_t n;
    const struct distill_words *words;
    size_t teacher_dim;
    const float *text_vector; /* [n, teacher_dim] */
    const float *word_vector; /* [words->n, teacher_dim] */
    /* At times; an error of it ends the work. */
    enum tacit_err (*step)(void *ctx, const struct distill_report *r);
    void *ctx;
};

struct distilled; /* owned */
TACIT_CHECKED enum tacit_err distill_train(const struct distill_config *c,
                                           const struct distill_job *job,
                                           struct distilled **out);
void distilled_free(struct distilled *d);
/* The last report. */
const struct distill_report *distilled_report(const struct distilled *d);

/* Write it: what is said of its origin stands in the metadata. */
struct distill_origin {
    const char *name, *licence, *source;
    const char *teacher, *teacher_hash, *texts_hash; /* hex */
};
TACIT_CHECKED enum tacit_err distilled_write(const struct distilled *d,
                                             const struct distill_origin *o,
                                             const char *folder,
                                             const char *path,
                                             struct digest *hash);

#endif
